# Everything runs in a virtual environment of its own, .venv, at the versions of constraints.txt.

PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=
# A process for each core, one thread each; the tests of a module stay together, for what they share.
WORKERS ?= -n auto --maxprocesses 8 --dist loadscope

VENV := .venv
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check
# Folders stand beside their contents: a file that is added or removed changes its folder's time.
SOURCES := LICENSE README.md $(shell find src/pellucid interpret viz datasets \
	-name __pycache__ -prune -o \( -type d -o -type f \) -print)

# What setuptools leaves behind would end up in the next wheel, a module that is gone included.
TIDY := rm -rf build/lib build/bdist.* pellucid.egg-info; rmdir build 2>/dev/null || true

.PHONY: help demo test lint types contracts unit clean
.DELETE_ON_ERROR:
.NOTPARALLEL: # one pip at a time, and checks in their order

help:
	@echo "make demo    train a small model, explain it and write a report (ARGS='...' are passed on)"
	@echo "make test    everything that CI checks (PYTEST_ARGS='tests/results -x' chooses tests)"
	@echo "make clean   remove the environment, the caches and what demo wrote"
	@echo "PYTHON=...   the interpreter to build $(VENV) with, 3.11 or newer (now: $(PYTHON))"

demo: $(VENV)/.package | $(VENV)/.deps-demo
	@$(VENV)/bin/pellucid demo $(ARGS)

test: lint types contracts unit

lint: | $(VENV)/.deps-test
	@echo "== ruff: lint and format"
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: $(VENV)/.package | $(VENV)/.deps-test
	@echo "== mypy: the installed package"
	@$(VENV)/bin/mypy

contracts: $(VENV)/.package | $(VENV)/.deps-test
	@echo "== import-linter: what may import what"
	@$(VENV)/bin/lint-imports

# -P keeps the checkout off the path: the tests import the package as it was installed.
unit: $(VENV)/.package | $(VENV)/.deps-test
	@echo "== pytest"
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -P -m pytest $(WORKERS) $(PYTEST_ARGS)

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Pellucid needs Python 3.11 or newer, and '$(PYTHON)' is not:" \
			"$$($(PYTHON) --version 2>&1)"; \
		echo "Give another one: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "== Building $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); \
		echo "Python's venv module does not work; on Debian: apt-get install python3-venv"; exit 1; }
	@$(PIP) install --quiet -c constraints.txt setuptools
	@touch $@

$(VENV)/.deps-demo: REQUIREMENT := .
$(VENV)/.deps-test: REQUIREMENT := .[dev]
# A reference for the tests. It asks for torchvision, and PyPI's does not go with a torch without
# CUDA: it, and all that finds it installed (transformers), can then not be imported.
$(VENV)/.deps-test: ALONE := grad-cam
$(VENV)/.deps-demo $(VENV)/.deps-test: $(VENV)/.python pyproject.toml constraints.txt
	@echo "== Installing what Pellucid needs (the first time this takes some minutes)"
	@$(TIDY)
	@$(PIP) install -c constraints.txt --no-build-isolation '$(REQUIREMENT)'
	@$(if $(ALONE),$(PIP) install -c constraints.txt --no-build-isolation --no-deps $(ALONE))
	@$(TIDY)
	@touch $@

# Installed plainly, as users get it.
$(VENV)/.package: $(SOURCES) pyproject.toml | $(VENV)/.python
	@echo "== Installing Pellucid"
	@$(TIDY)
	@$(PIP) install --quiet --no-deps --no-build-isolation --force-reinstall .
	@$(TIDY)
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info pellucid-demo
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
