# Everything a developer runs. `make setup demo` and `make test` work on a fresh clone with
# Python 3.11 to 3.14; PYTHON=python3.13 chooses another than `python3`.
# Real Kafka is started from packages alone; KAFKA_BROKERS=host:port uses that cluster instead.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-annotate --no-header \
	--no-emit-package stream-monitor --python-version 3.11 --quiet

.PHONY: setup demo test lint format lock lock-upgrade clean

setup: $(STAMP)

# The project itself is installed editable and without dependencies: those come from the lock
# alone, each file checked by hash. The build backend is in the lock too.
$(STAMP): requirements/dev.txt pyproject.toml
	@echo "Setting up .venv from the locked packages: about a minute, once"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and "needs Python 3.11 to 3.14; say PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@$(BIN)/python -m examples.flights $(ARGS)

test: setup
	$(BIN)/python -m pytest $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Adds what pyproject.toml newly asks for and leaves the rest as it is locked.
lock: setup
	$(COMPILE) --output-file requirements/runtime.txt
	$(COMPILE) --all-extras --output-file requirements/dev.txt

lock-upgrade: setup
	$(COMPILE) --upgrade --output-file requirements/runtime.txt
	$(COMPILE) --upgrade --all-extras --output-file requirements/dev.txt

clean:
	rm -rf .venv build dist .demo .kafka .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
