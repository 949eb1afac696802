# Coffre: every command that a maintainer needs. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# python3.13 from PATH, or the newest 3.13 that pyenv has.
PYTHON := $(shell python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null || ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.13.*/bin/python3.13 2>/dev/null | tail -n 1)
# Behind a proxy with an authority of its own: pip reads PIP_CERT, uv only SSL_CERT_FILE (its docs, "TLS certificates").
ifdef PIP_CERT
export SSL_CERT_FILE ?= $(PIP_CERT)
endif
UV := .venv/bin/uv

# `sam build` looks for python3.13 on PATH; what pyenv puts there works in some directories only.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)/layers/coffre:$(CURDIR)/layers/console:$(CURDIR)/cli:$(CURDIR)
export SAM_CLI_TELEMETRY := 0
# Containers often set it: each of some hundred processes would compile what it imports.
unexport PYTHONDONTWRITEBYTECODE

# Further arguments, as in `make test-fast ARGS='-k retention -x'` or `make bench ARGS='--scale 0.1'`.
ARGS :=
# `make lock UPGRADE=--upgrade` takes newer versions where the .in files allow them; without it the pins stay.
UPGRADE :=

.PHONY: help threat-model setup tools fmt lint types imports validate scan sbom fuzz fuzz-a-little api-cases checks test test-fast test-browser demo ci bench release lock layers-update minors clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: .venv/.ready .venv/bin/coffre ## Make the virtual environment in .venv and the command .venv/bin/coffre

.venv/.ready: requirements/bootstrap.txt requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.13 was not found. Install it (for example: pyenv install 3.13) and run make again."; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --require-hashes -r requirements/bootstrap.txt
	$(UV) pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes -r requirements/dev.txt
	@touch $@

# Works through a symbolic link too: `ln -s "$PWD/.venv/bin/coffre" ~/bin/`.
.venv/bin/coffre: Makefile .venv/.ready
	@printf '%s\n' '#!/bin/sh' \
		'checkout=$$(dirname "$$(dirname "$$(dirname "$$(readlink -f "$$0")")")")' \
		'PYTHONPATH="$$checkout/cli:$$checkout/layers/coffre" exec "$$checkout/.venv/bin/python" -m coffre_cli "$$@"' > $@
	@chmod 755 $@

tools: setup ## Make every tool of the local stack below .tools (SAM, emulators, PostgreSQL 12-18)
	.venv/bin/python -m coffre_local.toolchain

.tools/sam/.ready: requirements/sam.txt | setup
	.venv/bin/python -m coffre_local.toolchain sam
	@touch $@

fmt: setup ## Format the code and repair what the linter can repair
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

lint: setup ## Check format and style
	.venv/bin/ruff format --check
	.venv/bin/ruff check

types: setup ## Check the types
	.venv/bin/mypy

imports: setup ## Check that each floor of the package imports only the floors below it
	.venv/bin/lint-imports

validate: .tools/sam/.ready ## Check the SAM templates
	AWS_DEFAULT_REGION=us-east-1 .tools/sam/bin/sam validate --lint --template template.yaml
	AWS_DEFAULT_REGION=us-east-1 .tools/sam/bin/sam validate --lint --template receiver.yaml

scan: setup ## Check for unsafe code, open resources and secrets (bandit, checkov, detect-secrets)
	.venv/bin/python -m supply_chain.scan

sbom: setup ## List everything in the layers, with licences, as CycloneDX (ARGS='--architecture arm64')
	.venv/bin/python -m supply_chain.sbom $(ARGS)

fuzz: setup ## Look for inputs that break a reader (ARGS='--seconds 600 manifest')
	.venv/bin/python -m tests.fuzz $(ARGS)

api-cases: setup ## Send generated requests to the API (ARGS='--cases 130', for each route)
	PYTHONPATH=layers/coffre:layers/console:cli:. .venv/bin/python -m tests.api_cases $(ARGS)

# Files in their order: those of tests/e2e, which take minutes, begin early. By default the files with the fewest tests
# come last, these among them, while the other processes have nothing to do. Three for two cores: a third of
# the time of tests with servers is waiting for them.
test: setup ## Run every test, the deployed template on the local stack included
	.venv/bin/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder --ignore tests/browser $(ARGS)

# In their order, too: the files with the fewest tests would come last, and some of these take the longest.
test-fast: setup ## Run the tests that start no server and no stack, and build no layer
	.venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m 'not object_store' \
		tests/unit tests/contract tests/template $(ARGS)

test-browser: setup ## Try the console's pages in Debian's Chromium
	.venv/bin/pytest tests/browser $(ARGS)

demo: setup ## Back up, lose and restore a sample database on a local AWS
	.venv/bin/coffre demo

checks: lint types imports validate scan sbom

ci: setup ## Everything that has to pass before a change lands
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target test-browser checks fuzz-a-little
	$(MAKE) --no-print-directory test

# One process each, as the checks are: beside them they leave no core without work.
fuzz-a-little: setup
	.venv/bin/python -m tests.fuzz --runs 500
	$(MAKE) --no-print-directory api-cases ARGS='--short --cases 4'

threat-model: setup ## Write the table of privileges into docs/format/threat-model.md
	.venv/bin/python -m tests.template.threat_model

bench: setup ## Measure every claim of docs/benchmarks.md (about an hour)
	@.venv/bin/python -m benchmarks $(ARGS)

release: .tools/sam/.ready ## Build dist/coffre-VERSION-py3-none-any.whl: the command with the template and layers
	@for architecture in x86_64 arm64; do \
		echo "Building the layers for $$architecture"; \
		AWS_DEFAULT_REGION=us-east-1 .tools/sam/bin/sam build --cached --parallel --template template.yaml \
			--parameter-overrides "Architecture=$$architecture" --build-dir ".aws-sam/release/$$architecture" \
			--cache-dir ".aws-sam/release/cache-$$architecture" > /dev/null; \
	done
	.venv/bin/python -m supply_chain.release $(ARGS)

lock: setup ## Compile requirements/*.in into locked files
	@for file in requirements/*.in layers/coffre/requirements.in layers/notify/requirements.in layers/console/requirements.in layers/coffre/copydata/compiler.in layers/console/templates.in; do \
		echo "$$file"; \
		$(UV) pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --no-emit-index-url $(UPGRADE) "$$file" --output-file "$${file%.in}.txt"; \
	done
	@$(UV) pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --no-emit-index-url $(UPGRADE) pyproject.toml --constraints requirements/dev.txt --output-file requirements/command.txt

layers-update: setup ## Move the PostgreSQL layers to the newest minors that pass the gate, and build them
	@for layer in pg_dump postgres_server; do $(MAKE) --no-print-directory -C "layers/$$layer" update; done
	@$(MAKE) --no-print-directory minors

minors: setup ## Warn about minors of PostgreSQL that are newer than what is pinned; never fails
	@cd layers/pg_dump && python3.13 -B -m recipe minors ../postgres_server/inputs.lock ../../requirements/postgresql-*.in \
		|| echo "WARNING: the pinned minors could not be compared."

clean: ## Stop the local stack and remove everything that make made
	@if test -f .coffre/local.json && test -x .venv/bin/coffre; then .venv/bin/coffre local down; fi
	rm -f layers/coffre/coffre/postgres/source/libcopydata.so layers/coffre/coffre/vault/libsha256.so
	rm -rf .venv .tools .aws-sam .coffre .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
