"""The local AWS: one process on 127.0.0.1 whose jobs really run.

Run it with ``python -m localaws serve --root DIR --port 5005``. State-only services are moto's; Glue, EMR Serverless,
Redshift Data and SageMaker are served by back ends of our own that run real Spark, real SQL and real scripts.
"""

ACCOUNT_ID = "123456789012"
"""The one account there is (moto's default)."""

REGION = "us-east-1"
"""The region whose endpoints the project uses locally."""
