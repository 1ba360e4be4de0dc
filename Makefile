# `make` alone prints this help.
PYTHON ?= python3
FILES ?=
JSON ?=
CASES ?=
MINUTES ?= 30
# Where this is set, every command of a test compiles its modules again, and every worker all the tests.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test check bench faults chaos format setup setup-run servers

help: ## Print this help
	@echo "Upswell: upload workers that swell and ebb with the work"
	@echo
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: setup-run ## Run the main job: real files, real workers, about a minute (FILES=folder takes yours)
	@.venv/bin/upswell demo $(if $(FILES),--files "$(FILES)")
	@.venv/bin/python -m upswell.extras

test: setup servers ## Run every test, on real RabbitMQ and Docker where they can be had
	@# In the order of the folders: the many small files of unit/ come last, and no long one runs on alone.
	@.venv/bin/pytest --numprocesses 6 --dist loadfile --no-loadscope-reorder

check: setup ## Lint, types, layers and unit tests, without any server
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/pyright
	@.venv/bin/lint-imports
	@.venv/bin/pytest tests/unit --numprocesses 3

bench: setup servers ## Measure Upswell beside its peers (CASES=folder of traces, JSON=--json for machines)
	@CASES="$(CASES)" scripts/bench $(JSON)

faults: setup servers ## Upload 10,000 things on each broker while everything on the way breaks; count what is lost (a quarter of an hour)
	@UPSWELL_FAULTS=10000 .venv/bin/pytest -q -n 0 tests/acceptance/test_uploads_with_faults.py
	@UPSWELL_FAULT_UPLOADS=1000 .venv/bin/pytest -q -n 0 tests/integration/test_docker_faults.py \
		tests/integration/test_kubernetes.py -k nothing_is_lost

chaos: setup servers ## Break everything at random for half an hour on each broker, count from outside what is lost (MINUTES=30)
	@PYTHONPATH=tests .venv/bin/python -m chaos.run --minutes $(MINUTES)

format: setup ## Format the code and fix what can be fixed by itself
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .

setup: ## Make .venv with all that developing needs (the others do it by themselves)
	@scripts/setup $(PYTHON) --all-extras --inexact

setup-run:
	@scripts/setup $(PYTHON) --no-dev --extra docker --inexact

servers:
	@scripts/install_servers
