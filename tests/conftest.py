"""Airflow reads its configuration once, when it is first imported: so the tests' is set here, before any test module is."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ACCOUNT = "123456789012"

os.environ.update(
    {
        "AIRFLOW_HOME": tempfile.mkdtemp(prefix="flywheel-tests-"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__FLYWHEEL__BUCKET": "flywheel-tests",
        "AIRFLOW__FLYWHEEL__ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/flywheel-jobs",
        "AIRFLOW__FLYWHEEL__REDSHIFT_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/flywheel-jobs",
        "AIRFLOW__FLYWHEEL__ALERTS_TOPIC_ARN": f"arn:aws:sns:us-east-1:{ACCOUNT}:flywheel-alerts",
        "AIRFLOW__FLYWHEEL__POLL_SECONDS": "0.5",
    }
)
