"""The zones on S3 as Spark jobs see them; shipped to Glue and EMR as ``lake.zip``."""
