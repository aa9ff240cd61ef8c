# Everything runs in .venv; `make demo PYTHON=python3.12` takes another interpreter.
PYTHON ?= python3
VENV := .venv/bin

.PHONY: demo test install check

demo: .venv/installed
	$(VENV)/ralr-viz demo

test: .venv/installed-dev
	$(VENV)/python -m pytest

check: .venv/installed-dev
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports

install: .venv/installed-dev

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet -e .
	touch $@

.venv/installed-dev: pyproject.toml
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet -e ".[dev]"
	touch $@ .venv/installed
