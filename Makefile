# Everything runs in .venv, which is made when it is needed. `make help` lists what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

# Tests and measurements start hundreds of programs, which need not compile labc each.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench format clean

help: ## show this list
	@echo "make TARGET [PYTHON=python3.12]"
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: $(VENV)/.labc ## several nodes, calls, topics, and what is to be seen of them
	@$(BIN)/python examples/demo.py

test: $(VENV)/.dev ## all the tests; those on virtual hosts need root, and say so when they skip
	@$(BIN)/python -m pytest -n 4 --dist worksteal $(ARGS)

lint: $(VENV)/.dev ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.dev ## measure beside the peers, write benchmarks/RESULTS.md; needs root (ONLY=calls,start: parts)
	@ONLY="$(ONLY)" BENCH_COMMAND="make bench$(if $(ONLY), ONLY=$(ONLY))" $(BIN)/python -m benchmarks $(ARGS)

format: $(VENV)/.dev ## put the code into the common style
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

clean: ## remove what these targets have made
	@rm -rf $(VENV) .venv-bench build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "There is no $(PYTHON) here. Install Python 3.11 or later (Debian, Ubuntu: apt install python3 python3-venv)," \
	         "or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "labc needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
	         "Name a later one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) can make no virtual environments." \
	         "Install its venv module (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.labc: $(VENV)/.python pyproject.toml
	@echo "Installing labc into $(VENV)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml
	@echo "Installing labc and the tools for its development into $(VENV)"
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.labc
