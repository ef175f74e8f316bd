# make demo   make .venv, install, and parse the standard library in parallel
# make test   make what is missing, check, then run every test
# make help   the rest

# The first Python on the path that is new enough; `make PYTHON=/path/to/python` chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$python; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
EXTRAS :=

.DELETE_ON_ERROR:
.PHONY: help demo test check bench bench-memory bench-scale coverage simulate mutants explore chaos clean

# How long the long forms run; `make simulate SEEDS=20000`, `make chaos MINUTES=30`.
SEEDS := 1000
MINUTES := 1

help:
	@echo "make demo          parse every file of the standard library in parallel"
	@echo "make test          ruff, mypy, import contracts, then all tests"
	@echo "make check         the same without the tests"
	@echo "make simulate      SEEDS=1000 whole systems in virtual time, with faults drawn from the seed"
	@echo "make mutants       plant bugs, and see the simulator find each"
	@echo "make explore       every order of events of a small system"
	@echo "make chaos         MINUTES=1 of real work while processes are killed and frozen"
	@echo "make coverage      branch coverage of the parts that do no I/O"
	@echo "make bench         our figures beside those of other libraries"
	@echo "                   PEERS='ray dask opengris' adds these; each gets a .venv of its own"
	@echo "make bench-memory  what large values take: peaks, and in the long run"
	@echo "make bench-scale   the scheduler with up to 10,000 workers and 1,000,000 tasks"
	@echo "make clean         remove the environments and everything that was made"

demo: $(VENV)/.installed
	@$(BIN)/python examples/stdlib_census.py

test: check
	@$(BIN)/python -m pytest

check: $(VENV)/.installed-test
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . \
		|| { echo "Not formatted; run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/mypy
	@$(call quietly,$(VENV)/contracts.log,$(BIN)/lint-imports --no-logo)

simulate: $(VENV)/.installed-test
	@$(BIN)/python -m tests.simulation run --seeds $(SEEDS)

mutants: $(VENV)/.installed-test
	@$(BIN)/python -m tests.simulation mutants

explore: $(VENV)/.installed-test
	@$(BIN)/python -m tests.simulation explore

chaos: $(VENV)/.installed-test
	@$(BIN)/python -m tests.chaos --minutes $(MINUTES)

coverage: $(VENV)/.installed-test
	@$(BIN)/coverage run -m pytest
	@$(BIN)/python tests/branch_coverage.py

bench: $(VENV)/.installed-bench
	@$(BIN)/python -m benchmarks.run $(foreach peer,$(PEERS),--peer $(peer)) $(BENCH)

bench-memory: $(VENV)/.installed-bench
	@$(BIN)/python -m benchmarks.memory

bench-scale: $(VENV)/.installed-bench
	@$(BIN)/python -m benchmarks.scale

clean:
	rm -rf $(VENV) .venv-* build dist *.egg-info .coverage .coverage.* .*_cache .hypothesis
	find actors scaler tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

# Installing says nothing unless it fails. A stamp keeps it from being done again.

$(VENV)/.installed-test: EXTRAS := [test,dev]
$(VENV)/.installed-bench: EXTRAS := [bench]

$(VENV)/.installed $(VENV)/.installed-test $(VENV)/.installed-bench: setup.cfg pyproject.toml | $(BIN)/python
	@echo "Installing scaler-actors$(EXTRAS) into $(VENV) ..."
	@$(call quietly,$(VENV)/pip.log,$(BIN)/python -m pip install --disable-pip-version-check --editable '.$(EXTRAS)')
	@$(BIN)/python -m compileall -q actors scaler  # as pip does with what it copies
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { \
		echo "Python 3.11 or newer is needed, and none was found on the PATH."; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); Python 3.11 or newer is needed."; \
		echo "Name another: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }

# Run a command; show what it said only when it fails. $(1) is where to keep it, $(2) the command.
quietly = $(2) >$(1) 2>&1 || { cat $(1); exit 1; }
