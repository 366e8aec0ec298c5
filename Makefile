# Every target sets up what it needs in .venv; nothing else is required but make and Python 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt
DEMO_LOG := out/demo.db

MEASURED := tests/e2e/test_five_hundred.py tests/e2e/test_soak.py
PROGRAMS ?= 2000

.PHONY: help demo test lint e2e bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo   simulate the example Workspace and show what to do next"
	@echo "make test   linters, types, import contracts, tests"
	@echo "make lint   the linters alone"
	@echo "make e2e    both processes on a real API server; needs KUBEBUILDER_ASSETS and kubectl"
	@echo "make bench  the benchmarks, with the ratios they promise"
	@echo "make clean  remove everything that was made here"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --upgrade pip
	$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) --group dev
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) --group bench
	@touch $@

demo: $(VENV)/.run
	@mkdir -p out && rm -f $(DEMO_LOG) $(DEMO_LOG)-wal $(DEMO_LOG)-shm $(DEMO_LOG).lock
	@$(BIN)/kaito simulate examples/falcon-7b-instruct.yaml --profile reference-run --log sqlite:///$(DEMO_LOG)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest --numprocesses auto

# Two tests at a time, each worker with an API server of its own, crashes at every call among them; then
# PROGRAMS programs of API calls on two servers, and last, alone, what measures.
e2e: $(VENV)/.dev
	$(BIN)/pytest -m "real_server and not campaign" --numprocesses 2 tests/e2e $(MEASURED:%=--ignore=%)
	KAITO_DIFFERENTIAL_PROGRAMS=$(PROGRAMS) $(BIN)/pytest -m real_server tests/differential
	$(BIN)/pytest -m real_server -s $(MEASURED)

bench: $(VENV)/.bench
	$(BIN)/pytest benchmarks --benchmark-sort=name --benchmark-columns=min,median,rounds --benchmark-disable-gc

clean:
	rm -rf $(VENV) out build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
