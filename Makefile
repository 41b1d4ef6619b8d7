# Every target bootstraps what it needs on a clean clone; the environment is made anew only when the lock moved.
# make PYTHON=/path/to/python3.11 names the interpreter; make VENV=folder puts the environment elsewhere.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/headrace.stamp
PYTEST := $(BIN)/python -m pytest
CODE := include dags plugins bench tests docker bootstrap.py

.PHONY: help demo test up down status lint types bench test-unit test-integration clean lock environment

help: ## List these targets
	@printf 'Headrace: data from a versioned lake, through gates, to models, and back.\n\n'
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

$(STAMP): requirements.txt requirements.in pyproject.toml bootstrap.py
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) is not found; Headrace needs Python 3.11." >&2; \
	  echo "       Install it (Debian 12: apt install python3.11 python3.11-venv) or name it: make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }
	@$(PYTHON) bootstrap.py --venv $(VENV)

environment: $(STAMP) ## Make the virtual environment and nothing else

demo: $(STAMP) ## Start the stack and run everything on real data, from a database to a released model
	@$(BIN)/headrace demo

test: $(STAMP) ## Run every test, real servers included
	@$(PYTEST) -n 2 --no-loadscope-reorder

test-unit: $(STAMP) ## Run the tests that start no server
	@$(PYTEST) tests/unit tests/contracts tests/dags

test-integration: $(STAMP) ## Run the tests against real servers, and the faults
	@$(PYTEST) tests/integration tests/faults

up: $(STAMP) ## Start the embedded stack and wait until it is healthy
	@$(BIN)/headrace up

down: $(STAMP) ## Stop the embedded stack; state stays in .headrace/
	@$(BIN)/headrace down

status: $(STAMP) ## Show each server's state, URL, memory and uptime
	@$(BIN)/headrace status

lint: $(STAMP) ## Check style, imports between rooms, and SQL
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/lint-imports --no-cache
	@if [ -n "$$(find dbt_project -name '*.sql' -print -quit)" ]; then $(BIN)/sqlfluff lint dbt_project; fi

types: $(STAMP) ## Check types (mypy, strict)
	@$(BIN)/mypy

bench: $(STAMP) ## Measure against floor and peers (ratios, not absolutes)
	@$(BIN)/python -m bench

lock: $(STAMP) ## Resolve requirements.in into requirements.txt (ARGS="--upgrade-package NAME")
	@$(PYTHON) bootstrap.py lock --venv $(VENV) $(ARGS)

clean: ## Stop the stack and remove the environment and caches; .headrace/ (your data) stays
	@if [ -x $(BIN)/headrace ] && [ -d "$${HEADRACE_HOME:-.headrace}" ]; then $(BIN)/headrace down; fi
	@rm -rf $(VENV) $(VENV).lock *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
	  dbt_project/target dbt_project/logs
	@find $(wildcard include dags plugins bench tests dbt_project) -name __pycache__ -type d -prune -exec rm -rf {} +
