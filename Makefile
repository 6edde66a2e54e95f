# Everything a newcomer needs; each target does its own set-up in .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
WORKERS ?= 2
TESTS ?= tests

.DEFAULT_GOAL := help
.PHONY: help setup demo test check golden clean

help: ## these lines
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

setup: .venv/setup.stamp ## .venv with Latte in it: .venv/bin/latte

demo: setup ## train the shipped hand-written digits, end with the test accuracy
	@$(BIN)/latte demo digits

test: .venv/test.stamp ## install what the tests need, run all of them
	$(BIN)/python -m pytest -q -n $(WORKERS) $(TESTS)

check: .venv/dev.stamp ## style, types and hooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

golden: .venv/test.stamp ## write the golden texts anew; look at the diff before you commit
	LATTE_UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q $(TESTS)

clean: ## remove .venv and caches
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/setup.stamp: .venv/bin/python pyproject.toml
	$(PIP) install --editable .
	@touch $@

.venv/test.stamp: .venv/setup.stamp
	$(PIP) install --editable '.[test]'
	@$(PIP) install --editable '.[peers]' \
		|| echo 'PyTorch cannot be installed here: the tests that compare with it are skipped' >&2
	@touch $@

.venv/dev.stamp: .venv/setup.stamp
	$(PIP) install --editable '.[dev]'
	@touch $@
