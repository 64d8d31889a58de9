# Everything a newcomer needs; `make demo` and `make test` set up by themselves.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UNMOVED_DATA_DIR ?= $(CURDIR)/.data

.PHONY: help setup demo serve test lint bench clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(VENV)/.ready: pyproject.toml uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	UV_LINK_MODE=copy $(BIN)/uv sync --quiet --frozen --inexact --all-extras
	@touch $@

setup: $(VENV)/.ready  ## Create .venv with everything locked

demo: setup  ## Ingest the manual and the READMEs of installed packages, run three searches
	$(BIN)/python demo.py

serve: setup  ## Open the web page on http://127.0.0.1:8020
	$(BIN)/search-app serve

test: setup  ## Run the tests
	$(BIN)/python -m pytest

lint: setup  ## ruff, mypy strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## Measure speed and memory; prints ratios against baselines of the same run
	$(BIN)/python -m benchmarks

clean:  ## Remove the environment and the data of the demo
	rm -rf $(VENV) .data
