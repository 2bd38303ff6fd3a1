"""spark_noop.py: a job of one task that does nothing."""
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
assert spark.sparkContext.parallelize([1], 1).filter(lambda _: False).count() == 0
spark.stop()
