import java.io.*;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Prints what is in a topic now: ReadTopic SERVERS TOPIC ISOLATION-LEVEL. A line is the
 * partition of a record, the one that the producer of this client would choose for its key,
 * key and value.
 */
public class ReadTopic {
	public static void main(String[] args) throws Exception {
		Properties p = new Properties();
		p.put("bootstrap.servers", args[0]);
		p.put("isolation.level", args[2]);
		PrintStream out = new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, "UTF-8");
		try (Consumer<byte[], byte[]> c = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
			List<TopicPartition> all = new ArrayList<>();
			c.partitionsFor(args[1]).forEach(i -> all.add(new TopicPartition(i.topic(), i.partition())));
			c.assign(all);
			c.seekToBeginning(all);
			Map<TopicPartition, Long> ends = c.endOffsets(all);
			while (all.stream().anyMatch(t -> c.position(t) < ends.get(t)))
				for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(200)))
					out.println(r.partition() + "\t" + BuiltInPartitioner.partitionForKey(r.key(), all.size()) + "\t"
						+ new String(r.key(), StandardCharsets.UTF_8) + "\t" + new String(r.value(), StandardCharsets.UTF_8));
		}
		out.flush();
	}
}
