"""What DAGs, operators and jobs share: no Airflow, no boto3. Job containers get this package as a zip."""
