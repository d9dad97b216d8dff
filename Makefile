# Everything starts here: `make` alone lists what there is. Needs make and any Python from 3.8 on; `make setup` does the rest.
SHELL := /bin/bash
PYTHON ?= python3
AIRFLOW_BIN := .venv/bin
JOBS := PYTHONPATH=include .venv-jobs/bin/python
# The environment around must not reach in: no bytecode would double every start, a foreign PYTHONPATH would shadow modules.
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME VIRTUAL_ENV AIRFLOW_HOME
.DEFAULT_GOAL := help
.PHONY: help setup up down status land demo contract drift bench simulate test test-fast lint format test-airflow test-jobs test-e2e test-reliability lock images docs schemas compose-env clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

setup: ## install both Python environments (done once; later calls end at once)
	@$(PYTHON) include/laptop/bootstrap.py

up: setup ## start Airflow and the local AWS, and leave them running
	@$(JOBS) -m laptop up

down: ## stop Airflow and the local AWS; their state is kept
	@if [ -x .venv-jobs/bin/python ]; then $(JOBS) -m laptop down; else echo "Nothing is installed, so nothing runs."; fi

status: setup ## show what runs
	@$(JOBS) -m laptop status

demo: setup ## play the whole lifecycle on real data and write the report (ARGS="--keep-up" leaves Airflow running)
	@$(JOBS) -m laptop demo $(ARGS)

land: setup ## deliver days of flights while the stack is up: make land START=2013-01-01 END=2013-01-31
	@$(JOBS) -m laptop land $(START) $(END)

contract: setup ## hold a file against its contract, or draft one from it: make contract DATASET=x FILE=y [DAY=2013-01-31] [OUT=x.yaml]
	@PYTHONPATH=include:plugins .venv-jobs/bin/python -m laptop.contract_check --dataset "$(DATASET)" --file "$(FILE)" \
	    $(if $(DAY),--day "$(DAY)") $(if $(OUT),--out "$(OUT)")

drift: setup ## hold Parquet files against a model's profile: make drift PROFILE=profile.json FILES="july/*.parquet" [DAY=2013-07-01]
	@PYTHONPATH=include:plugins .venv-jobs/bin/python -m laptop.drift_check --profile "$(PROFILE)" --files "$(FILES)" \
	    $(if $(DAY),--day "$(DAY)")

bench: setup ## measure: stages, overhead, parse times, the local AWS (ARGS=--reliability, ARGS=--waiting: against the provider)
	@$(JOBS) -m laptop bench $(ARGS)

simulate: setup ## shifts of known size and a year of policies: found or not, false alarms, what it pays (ARGS=--peers: beside others)
	@$(if $(findstring --peers,$(ARGS)),$(PYTHON) include/laptop/bootstrap.py --peers,true)
	@PYTHONPATH=include:plugins .venv-jobs/bin/python -m simulate $(ARGS)

# Each part runs even when an earlier one has failed, so that one run tells everything; the last line is the verdict.
test: setup ## everything: lint, types, unit tests, the local AWS, the lifecycle end to end
	@failed=; for part in lint test-airflow test-jobs test-e2e test-reliability; do \
	    echo; echo "== make $$part"; $(MAKE) --no-print-directory $$part || failed="$$failed $$part"; \
	done; echo; \
	if [ -n "$$failed" ]; then echo "make test: FAILED:$$failed"; exit 1; fi; \
	echo "make test: lint, test-airflow, test-jobs, test-e2e and test-reliability passed"

test-fast: setup ## lint and the tests that start neither a JVM nor an Airflow
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test-airflow test-jobs SELECT='-m "not slow"'

lint: setup ## ruff and mypy
	@$(AIRFLOW_BIN)/ruff check .
	@$(AIRFLOW_BIN)/mypy

format: setup ## let ruff mend and format what it can
	@$(AIRFLOW_BIN)/ruff check --fix .
	@$(AIRFLOW_BIN)/ruff format .

test-airflow: setup ## DAGs, operators and the architecture, in Airflow's environment
	@$(AIRFLOW_BIN)/python -m pytest tests/dags tests/plugins $(wildcard tests/*.py) $(SELECT) $(ARGS)

test-jobs: setup ## the local AWS, the jobs and the laptop's tools, in the jobs' environment
	@.venv-jobs/bin/python -m pytest tests/include $(SELECT) $(ARGS)

test-e2e: setup ## the whole lifecycle on a slice of the data, with a real Airflow
	@.venv-jobs/bin/python -m pytest tests/e2e $(ARGS)

test-reliability: setup ## real tasks and jobs are killed, calls are lost: each operator in each way of waiting
	@.venv-jobs/bin/python -m pytest tests/reliability $(SELECT) $(ARGS)

# The commands that make the locks. The compiled files name hashes and no index.
lock: setup ## resolve all locks anew from requirements.txt and pyproject.toml
	@uv=$$(command -v .venv-uv/bin/uv || command -v uv) || { echo "uv is needed: run make setup"; exit 1; }; \
	options="--generate-hashes --no-header --universal --quiet $(ARGS)"; \
	$$uv pip compile requirements.txt --group pyproject.toml:airflow-test --python-version 3.12 $$options -o include/laptop/airflow.lock; \
	$$uv pip compile --group pyproject.toml:jobs --python-version 3.11 $$options -o include/laptop/jobs.lock; \
	for peer in evidently nannyml; do \
	    $$uv pip compile --group pyproject.toml:$$peer --python-version 3.11 $$options -o include/simulate/$$peer.lock || exit 1; \
	done

images: setup ## take the addresses of AWS's framework containers from the SageMaker SDK
	@uv=$$(command -v .venv-uv/bin/uv || command -v uv) || { echo "uv is needed: run make setup"; exit 1; }; \
	$$uv run --quiet --no-project --with sagemaker-core==2.27.0 python include/infra/container_images.py

docs: setup ## write docs/DAGs.md from the DAGs
	@AIRFLOW_HOME=$(CURDIR)/.flywheel/docs AIRFLOW__CORE__DAGS_FOLDER=$(CURDIR)/dags AIRFLOW__CORE__PLUGINS_FOLDER=$(CURDIR)/plugins \
	    AIRFLOW__CORE__LOAD_EXAMPLES=False $(AIRFLOW_BIN)/python docs/make_dags_page.py

schemas: setup ## write the JSON schemas that editors check contracts and model specs by
	@PYTHONPATH=plugins $(AIRFLOW_BIN)/python docs/make_schemas.py

compose-env: setup ## make .env, the secrets that docker compose wants
	@$(JOBS) -m laptop compose-env

clean: down ## remove all state and caches; the environments stay
	rm -rf .flywheel .pytest_cache .mypy_cache .ruff_cache build
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
