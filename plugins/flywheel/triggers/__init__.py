"""Triggers: what waits in the triggerer for a job's end. They live under plugins/ because the triggerer sees no dags/."""
