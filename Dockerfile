# The project as containers: for docker compose and for `astro dev start` alike. Two images, because Airflow and the jobs never mix:
# `localaws` (Python 3.11, what .venv-jobs is) and `airflow` (Python 3.12, what .venv is). Astro builds the last one.

FROM python:3.11-slim AS localaws
WORKDIR /flywheel
COPY include/laptop/jobs.lock include/laptop/jobs.lock
RUN pip install --no-cache-dir --require-hashes -r include/laptop/jobs.lock
COPY include include
COPY plugins plugins
ENV PYTHONPATH=/flywheel/include:/flywheel/plugins PYTHONUNBUFFERED=1
CMD ["python", "-m", "localaws", "serve", "--root", "/state", "--port", "5005"]

FROM apache/airflow:3.3.1-python3.12 AS airflow
# Astro's command line reads from this label that the image is an Airflow 3, mounts the project below /usr/local/airflow, which is
# MWAA's folder too, and runs the components as the user `astro`: here another name of the image's own user.
LABEL io.astronomer.docker="true" io.astronomer.docker.runtime.version="3.3-1" io.astronomer.docker.airflow.version="3.3.1"
ENV AIRFLOW_HOME=/usr/local/airflow
USER root
RUN useradd --non-unique --uid 50000 --gid 0 --no-create-home --home-dir /home/airflow astro \
    && mkdir -p /usr/local/airflow/logs && chown -R airflow:0 /usr/local/airflow && chmod -R g+w /usr/local/airflow
USER airflow
WORKDIR /usr/local/airflow
COPY --chown=airflow:0 requirements.txt requirements.txt
COPY --chown=airflow:0 plugins/constraints.txt plugins/constraints.txt
RUN pip install --no-cache-dir -r requirements.txt
COPY --chown=airflow:0 plugins plugins
COPY --chown=airflow:0 include include
COPY --chown=airflow:0 dags dags
