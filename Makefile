# Two commands for everybody: `make demo` and `make test`. Each sets up all it needs.
# `make check` and `make soak` are for those who change headrace, `make bench` for those who doubt its figures.

# Any Python from 3.11 on; a name that is there may still be a shim that does not run.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
SOURCES := core plugins tests bench examples

.PHONY: help demo dashboard test check soak bench
.DEFAULT_GOAL := help

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' $(MAKEFILE_LIST)

demo: .venv/.project  ## devices, a rule and an HTTP receiver, all on this machine, in ten seconds
	@$(BIN)/headrace demo

dashboard: .venv/.dashboard core/headrace/ui/dist/index.html  ## build the dashboard that the API shows at /

test: .venv/.tests check  ## everything CI runs: the checks, then every test
	@.ci/peer mosquitto_pub mosquitto mosquitto-clients
	@.ci/peer nginx nginx-light
	@.ci/peer chromium chromium fonts-dejavu-core
	$(BIN)/pytest -m "not soak" $(PYTEST_ARGS)

check: .venv/.tests  ## format, lint, types, import contracts
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: .venv/.tests  ## the long tests, minutes each
	@.ci/peer mosquitto_pub mosquitto mosquitto-clients
	$(BIN)/pytest -m soak --timeout=3600 $(PYTEST_ARGS)

bench: .venv/.project  ## headrace beside its peers; see bench/README.md
	$(MAKE) -C bench PYTHON=$(CURDIR)/$(BIN)/python

# The stamps make a second run quick: installed once per change of pyproject.toml.
.venv/.python:
	@test -n "$(PYTHON)" || { echo "headrace needs Python 3.11 or newer, and none was found (PYTHON=... names one)"; exit 1; }
	$(PYTHON) -m venv .venv || { echo "no virtual environment could be made (on Debian: apt install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'  # --group is new there
	@touch $@

.venv/.project: .venv/.python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/.tests: .venv/.project
	$(BIN)/python -m pip install --quiet --group test
	@touch $@

.venv/.dashboard: .venv/.project
	$(BIN)/python -m pip install --quiet --group dashboard
	@touch $@

core/headrace/ui/dist/index.html: $(shell find core/headrace/ui -path '*/node_modules' -prune -o -path '*/dist' -prune -o -type f -print)
	$(BIN)/python core/headrace/ui/build.py
