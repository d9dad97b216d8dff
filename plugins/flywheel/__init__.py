"""Flywheel: the lifecycle of machine-learning models on Amazon MWAA, as Airflow operators, sensors and plain logic."""
