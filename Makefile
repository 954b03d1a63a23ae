# `make help` lists the targets. Everything runs in .venv, which is created from requirements.lock.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# The first of these commands that is Python 3.11, 3.12 or 3.13; choose another with `make PYTHON=/path/to/python3.12 …`.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.13 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 && echo $$p && break; done)
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help install quickstart quickstart-text train test test-full mutants lint format walkthrough docs docs-links lock tensorboard clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) ## create .venv from requirements.lock (exact versions, checked hashes)

# uv installs the lock in seconds; where uv cannot be installed, pip does the same more slowly.
$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, and none was found; set it with PYTHON=..." >&2; exit 1; }
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

quickstart-text: $(READY) ## train masked diffusion on Python's documentation, sample text, measure bits per character
	$(BIN)/python scripts/train.py experiment=quickstart_text

train: $(READY) ## train the tutorial's DDPM on MNIST
	$(BIN)/python scripts/train.py experiment=ddpm_mnist

test: $(READY) ## run the tests (no network, no GPU)
	$(BIN)/python -m pytest -q -n auto --dist worksteal

test-full: $(READY) ## run all tests, including those that take long
	$(BIN)/python -m pytest -q -n auto --dist worksteal -m "full or not full" --timeout 1200

mutants: $(READY) ## put deliberate faults into the code, and see which the tests catch (hours)
	$(BIN)/python tests/mutation/run.py

lint: $(READY) ## check with ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## format with ruff, and fix what it can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

walkthrough: $(READY) ## execute the notebooks of docs/walkthrough on their real data, and keep the outputs
	$(BIN)/python docs/walkthrough/execute.py

docs: $(READY) ## build the documentation into docs/_build/html; warnings and dead links are errors
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs docs/_build/html
	$(BIN)/python docs/check_pages.py docs/_build/html

docs-links: $(READY) ## check the documentation's links to other sites (needs a network, so CI does not)
	$(BIN)/sphinx-build -q -b linkcheck docs docs/_build/links

lock: ## resolve requirements.lock again (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-emit-index-url --custom-compile-command "make lock" --quiet -o requirements.lock

tensorboard: $(READY) ## show all runs in TensorBoard
	$(BIN)/tensorboard --logdir outputs

clean: ## remove .venv and caches, but not outputs/ and data/
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache docs/_build
