"""Does a little of what every job does, so that the JVM has loaded and compiled it before the first job comes."""

import sys

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
numbers = spark.range(1000).withColumn("part", (F.col("id") % 3).cast("string")).withColumn("at", F.current_timestamp())
numbers.write.mode("overwrite").partitionBy("part").parquet(sys.argv[1])
rows = spark.read.parquet(sys.argv[1])
running = Window.partitionBy("part").orderBy("id").rowsBetween(-2, 0)
sums = rows.groupBy("part").agg(F.sum("id").alias("sum"))
rows.join(sums, "part").withColumn("running", F.sum("id").over(running)).orderBy("id").limit(5).collect()
