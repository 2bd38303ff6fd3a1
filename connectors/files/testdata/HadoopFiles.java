import java.io.*;
import java.nio.charset.StandardCharsets;
import org.apache.avro.*;
import org.apache.avro.file.*;
import org.apache.avro.generic.*;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.*;
import org.apache.hadoop.io.compress.*;
import org.apache.hadoop.util.ReflectionUtils;

/** Writes files with Hadoop's own writers: HadoopFiles FOLDER RECORDS. */
public class HadoopFiles {
	static final Configuration conf = new Configuration();
	static String dir;
	static int records;

	public static void main(String[] args) throws Exception {
		dir = args[0];
		records = Integer.parseInt(args[1]);
		conf.setInt("io.seqfile.compress.blocksize", 5000);
		String[] codecs = {"Default", "BZip2", "Snappy", "Lz4"};
		for (String c : codecs) {
			CompressionCodec codec = (CompressionCodec) ReflectionUtils.newInstance(
				conf.getClassByName("org.apache.hadoop.io.compress." + c + "Codec"), conf);
			text(codec, records);
			// bzip2 of each value takes Hadoop very long to begin.
			if (!c.equals("BZip2")) seq("record-" + c, SequenceFile.CompressionType.RECORD, codec, records);
			seq("block-" + c, SequenceFile.CompressionType.BLOCK, codec, c.equals("BZip2") ? 300 : records);
		}
		CompressionCodec gzip = ReflectionUtils.newInstance(GzipCodec.class, conf);
		text(gzip, records);
		seq("none", SequenceFile.CompressionType.NONE, null, records);
		classes("classes-none", SequenceFile.CompressionType.NONE);
		classes("classes-block", SequenceFile.CompressionType.BLOCK);
		for (String c : new String[] {"null", "deflate", "snappy", "bzip2"}) avro(c);
	}

	static String key(int i) { return "key " + i * 7919 % 1000 + (i % 50 == 0 ? "é" : ""); }

	static void text(CompressionCodec codec, int n) throws IOException {
		try (OutputStream out = codec.createOutputStream(new FileOutputStream(dir + "/text" + codec.getDefaultExtension()))) {
			for (int i = 0; i < n; i++) out.write((key(i) + "\t" + i + "\n").getBytes(StandardCharsets.UTF_8));
		}
	}

	static SequenceFile.Writer open(String name, Class<?> k, Class<?> v, SequenceFile.CompressionType type, CompressionCodec codec) throws IOException {
		return SequenceFile.createWriter(conf, SequenceFile.Writer.file(new Path(dir + "/" + name + ".seq")),
			SequenceFile.Writer.keyClass(k), SequenceFile.Writer.valueClass(v), SequenceFile.Writer.syncInterval(2000),
			type == SequenceFile.CompressionType.NONE ? SequenceFile.Writer.compression(type) : SequenceFile.Writer.compression(type, codec));
	}

	static void seq(String name, SequenceFile.CompressionType type, CompressionCodec codec, int n) throws IOException {
		try (SequenceFile.Writer w = open(name, Text.class, LongWritable.class, type, codec)) {
			for (int i = 0; i < n; i++) w.append(new Text(key(i)), new LongWritable(i));
		}
	}

	static void classes(String name, SequenceFile.CompressionType type) throws IOException {
		CompressionCodec codec = ReflectionUtils.newInstance(DefaultCodec.class, conf);
		long[] some = {0, 1, -1, 127, 128, -112, -113, 255, 256, -256, -257, Integer.MAX_VALUE, Integer.MIN_VALUE};
		Writable[][] rows = new Writable[some.length][];
		for (int i = 0; i < some.length; i++)
			rows[i] = new Writable[] {new IntWritable((int) some[i]), new LongWritable(some[i] * 3), new VIntWritable((int) some[i]), new VLongWritable(some[i] * 5),
				new FloatWritable(some[i] / 4f), new DoubleWritable(some[i] / 8d), new BooleanWritable(some[i] % 2 == 0), NullWritable.get(),
				new BytesWritable(Long.toString(some[i]).getBytes()), new ByteWritable((byte) some[i]), new ShortWritable((short) some[i])};
		for (int c = 0; c < rows[0].length; c++) {
			Class<?> k = rows[0][c].getClass();
			try (SequenceFile.Writer w = open(name + "-" + k.getSimpleName(), k, Text.class, type, codec)) {
				for (int i = 0; i < some.length; i++) w.append(rows[i][c], new Text("" + some[i]));
			}
		}
	}

	static void avro(String codec) throws IOException {
		Schema s = new Schema.Parser().parse("{\"type\":\"record\",\"name\":\"r\",\"fields\":[{\"name\":\"key\",\"type\":\"string\"},"
			+ "{\"name\":\"value\",\"type\":[\"null\",\"long\"]},{\"name\":\"list\",\"type\":{\"type\":\"array\",\"items\":\"int\"}}]}");
		try (DataFileWriter<GenericRecord> w = new DataFileWriter<>(new GenericDatumWriter<GenericRecord>(s))) {
			w.setCodec(CodecFactory.fromString(codec));
			w.setSyncInterval(1000);
			w.create(s, new File(dir + "/" + codec + ".avro"));
			for (int i = 0; i < records; i++) {
				GenericRecord r = new GenericData.Record(s);
				r.put("key", key(i));
				r.put("value", i % 5 == 0 ? null : (Object) (long) i);
				r.put("list", java.util.Collections.nCopies(i % 3, i));
				w.append(r);
			}
		}
	}
}
