# Every target sets up what it needs in .venv; nothing has to be installed before.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint spelling coverage docs bench wheel clean

demo: .venv/.plotting
	$(BIN)/python examples/old_faithful.py

# With JAX's float64 mode on, and off, as most users run it. Tests compile more than they
# compute, so most programs are hardly optimised, and in one piece: to be compiled by
# several threads a program is first taken apart, which takes as long. What rests on
# rounding in float32 is compiled as users compile it; the workflows do so with everything.
PYTEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder
LOOPS := simplify-while-loops,while-loop-invariant-code-motion,while-loop-trip-count-annotator
QUICK := --xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 \
	--xla_cpu_parallel_codegen_split_count=1 --xla_disable_hlo_passes=$(LOOPS)
NUMERICS = $(shell grep -l 'pytest.mark.optimised' tests/test_*.py)

test: .venv/.test
	JAX_ENABLE_X64=1 XLA_FLAGS="$(QUICK) $$XLA_FLAGS" $(PYTEST)
	JAX_ENABLE_X64=0 XLA_FLAGS="$(QUICK) $$XLA_FLAGS" $(PYTEST) $(NUMERICS:%=--ignore=%)
	JAX_ENABLE_X64=0 $(PYTEST) $(NUMERICS)

# Lines that the tests reach, in both worlds; the table, and pages in htmlcov.
COVERAGE := $(PYTEST) --cov --cov-append --cov-report=
coverage: .venv/.coverage
	rm -f .coverage
	JAX_ENABLE_X64=1 XLA_FLAGS="$(QUICK) $$XLA_FLAGS" $(COVERAGE)
	JAX_ENABLE_X64=0 XLA_FLAGS="$(QUICK) $$XLA_FLAGS" $(COVERAGE) $(NUMERICS:%=--ignore=%)
	JAX_ENABLE_X64=0 $(COVERAGE) $(NUMERICS)
	$(BIN)/coverage html --quiet
	$(BIN)/coverage report

lint: spelling .venv/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m tests.complete_types

spelling: .venv/.lint
	$(BIN)/codespell --dictionary - --dictionary tests/british.txt

docs: .venv/.docs
	XLA_FLAGS="$(QUICK) $$XLA_FLAGS" $(BIN)/mkdocs build --strict

bench: .venv/.bench
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.first_result

# The files of a release, in dist.
wheel: .venv/.wheel
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf .venv site dist htmlcov .coverage

# One stamp file per extra, renewed when pyproject.toml changes.
.venv/.%: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$*]"
	touch $@

.venv/bin/python:
	$(PYTHON) -m venv .venv
