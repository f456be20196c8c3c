# One command per chore, the same ones on a laptop and in CI. Each installs what it needs, once, into .venv.
#   PYTHON=python3.12 make test      choose the interpreter (3.11 or newer; found by itself otherwise)
#   PIP_INSTALL_FLAGS=...            handed to every pip install
#   make bench ONLY=latency SAVE=1   one benchmark; keep its result to be committed

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
HONE_EDITORS ?= $(HOME)/.cache/hone-editors
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_INSTALL_FLAGS)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-editors editors check fix bench claims docs clean

help: ## what there is
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: $(VENV)/.installed-dev ## .venv with Hone and everything its tests need

demo: $(VENV)/.installed ## fill holes in three real files
	@$(BIN)/hone demo

# A file at a time to each process: its fixtures are made once. Most tests wait for other programs; more than four
# processes make those that measure fail.
test: $(VENV)/.installed-dev ## the whole test suite
	@$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

editors: ## get the real editors that the tests drive, into HONE_EDITORS
	@set -e; for script in tests/editors/get_*.sh; do bash "$$script" "$(HONE_EDITORS)"; done

test-editors: $(VENV)/.installed-dev editors ## the tests in real editors, which fail where one is missing
	@CI=true $(BIN)/python -m pytest tests/editors

check: $(VENV)/.installed-dev ## lint, format, types, direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_imports.py

fix: $(VENV)/.installed-dev ## mend what can be mended by program
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## benchmarks, compared with the last committed results; ONLY="latency parts", SAVE=1
	@$(BIN)/python benchmarks/run.py $(ONLY) $(if $(SAVE),--save)

claims: $(VENV)/.installed-dev ## run every command beside a number of the README again; hours, or ONLY="keystroke"
	@$(BIN)/python benchmarks/claims.py $(ONLY)

docs: $(VENV)/.installed-dev ## write the pages that are made from the code
	@$(BIN)/python docs/reference.py
	@$(BIN)/python docs/edits.py
	@$(BIN)/python docs/models.py

clean: ## forget the installation and every cache
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "hone: Python 3.11 or newer is needed; install it, or set PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "making $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "hone: no venv module; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing hone into $(VENV); PyTorch is a large download the first time" >&2
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "installing hone and its test tools into $(VENV); PyTorch is a large download the first time" >&2
	@$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.installed
