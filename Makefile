# Coffre: every command that a maintainer needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# python3.13 from PATH, or the newest 3.13 that pyenv has.
PYTHON := $(shell python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null || ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.13.*/bin/python3.13 2>/dev/null | tail -n 1)
UV := .venv/bin/uv

.PHONY: help setup
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: .venv/.ready ## Make the virtual environment in .venv

.venv/.ready: requirements/bootstrap.txt requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.13 was not found. Install it (for example: pyenv install 3.13) and run make again."; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	$(UV) pip install --quiet --python .venv/bin/python --require-hashes -r requirements/dev.txt
	@touch $@
