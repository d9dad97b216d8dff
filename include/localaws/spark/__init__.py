"""Spark for the local AWS: a pool of warm JVMs that runs the scripts of Glue and EMR Serverless jobs.

A job is an ordinary Python process, started as ``spark-submit`` starts one, which finds the address of a Spark JVM in
its environment. Only the JVM is shared: it is started once, serves one job after the other with a new SparkContext
each, and spares the next job some eight seconds of class loading. So the Python side of two jobs shares nothing at all,
and a script cannot tell the pool from a JVM of its own.

``worker``   one JVM: start it, open it for a job, tidy up after the job, kill it.
``pool``     the queue of jobs and the workers that serve it.
``java_classes``  what is written in Java, ``ObjectFileSystem.java``: how Spark writes objects. Compiled when it is missing.
``conf``     the Spark settings of a job, and the parsing of ``spark-submit`` parameters.
``failure``  why a script failed, in one sentence, out of what it wrote to stderr.
``shim``     the ``awsglue`` package, as far as it can exist without AWS's own jars.
"""
