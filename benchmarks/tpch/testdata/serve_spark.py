"""serve_spark.py DATA SQL THREADS SCALE: Spark does what `query serve DATA` does."""
import pathlib
import sys

from pyspark.sql import SparkSession

data, sql, threads, scale = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
spark = (
    SparkSession.builder.master(f"local[{threads}]")
    .config("spark.driver.memory", "4g")
    .config("spark.sql.shuffle.partitions", threads)
    .config("spark.ui.enabled", "false")
    .getOrCreate()
)
spark.sparkContext.setLogLevel("ERROR")
for table in sorted(data.iterdir()):
    spark.read.parquet(str(table)).createOrReplaceTempView(table.name)
for line in sys.stdin:
    try:
        number, out = line.rstrip("\n").split(" ", 1)
        text = (sql / f"q{int(number):02d}.sql").read_text()
        if number == "11":  # a fraction of what there is
            text = text.replace("0.0001000000", f"{0.0001 / scale:.10f}")
        spark.sql(text).write.mode("overwrite").csv(out, header=True, escape='"')
        print("ok", flush=True)
    except Exception as e:
        print(f"{type(e).__name__}: {e}".replace("\n", " "), flush=True)
spark.stop()
