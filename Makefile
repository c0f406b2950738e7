# What people and CI run. `make demo` and `make test` work on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo test check fix bench soak screenshots clean

help:
	@grep -E '^## ' Makefile | sed 's/^## //'

## make install  the virtual environment with pinned versions
install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt 'torch==2.13.0'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

## make demo     start a server, run a Hyperband study on handwritten digits (KEEP=1 leaves the server up)
demo: $(STAMP)
	$(BIN)/python examples/demo.py $(if $(KEEP),--keep,)

## make test     the tests, in two streams (they start PostgreSQL and Chromium, which .ci/run installs where it may)
test: $(STAMP)
	$(BIN)/python -m tests.streams

## make soak     the long survival runs
soak: $(STAMP)
	$(BIN)/python -m pytest -m soak --timeout 1800

## make check    linters and types
check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## make fix      repair what the linters can
fix: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

## make bench    side-by-side benchmarks; tables on the screen, JSON in benchmarks/results (NAMES="training hyperband", QUICK=1)
bench: $(STAMP)
	$(BIN)/python -m benchmarks.run $(NAMES) $(if $(QUICK),--quick,)

## make screenshots  a picture of every page, light, dark and on a phone, into build/screenshots
screenshots: $(STAMP)
	$(BIN)/python -m tests.browser.screenshots

clean:
	rm -rf $(VENV) build dist *.egg-info
