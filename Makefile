# `make help` lists what there is. Everything runs in .venv, which is made from requirements.lock.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The first of these that is Python 3.11 or 3.12; override with `make PYTHON=/path/to/python3.12 …`.
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1 && echo $$p && break; done)
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help install quickstart train test test-full lint format lock tensorboard clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) ## create .venv from requirements.lock (exact versions, checked hashes)

# uv installs the lock in seconds; where it cannot be had, pip does the same more slowly.
$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed, and none was found; name one with PYTHON=..." >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"; then \
		set -e; \
		$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock; \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
		set -e; \
		$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock; \
		$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .; \
	fi
	@touch $@
	@echo "Installed into $(VENV)."

quickstart: $(READY) ## train on bundled digits, sample, draw every figure (minutes on two cores, no download)
	$(BIN)/python scripts/train.py experiment=quickstart

train: $(READY) ## train the tutorial's DDPM on MNIST
	$(BIN)/python scripts/train.py experiment=ddpm_mnist

test: $(READY) ## run the tests (no network, no GPU)
	$(BIN)/python -m pytest -q -n auto --dist worksteal

test-full: $(READY) ## run all tests, those that take long included
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "full or not full" --timeout 1200

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## let ruff format and fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## resolve requirements.lock anew (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-emit-index-url --custom-compile-command "make lock" --quiet -o requirements.lock

tensorboard: $(READY) ## look at all runs in TensorBoard
	$(BIN)/tensorboard --logdir outputs

clean: ## remove .venv and caches; outputs/ and data/ stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache
