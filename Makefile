# Every target sets up what it needs in .venv; nothing has to be installed before.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint docs bench clean

demo: .venv/.plotting
	$(BIN)/python examples/old_faithful.py

# Twice: once with JAX's float64 mode on, once with it off, as most users run it.
test: .venv/.test
	JAX_ENABLE_X64=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile
	JAX_ENABLE_X64=0 $(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m tests.complete_types

docs: .venv/.docs
	$(BIN)/mkdocs build --strict

bench: .venv/.bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv site

# One stamp file per extra, renewed when pyproject.toml changes.
.venv/.%: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$*]"
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
