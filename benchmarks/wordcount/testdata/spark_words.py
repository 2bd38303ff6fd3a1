"""spark_words.py IN OUT: counts the words of a text, lines "word<tab>count" in files in OUT."""
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

text, out = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
(
    spark.read.text(text)
    .select(f.explode(f.split("value", " ")).alias("word"))
    .where("word <> ''")
    .groupBy("word")
    .count()
    .select(f.concat_ws("\t", "word", "count"))
    .write.mode("overwrite")
    .text(out)
)
spark.stop()
