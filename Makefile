# Everything a developer runs. `make setup demo` and `make test` work on a fresh clone with
# Python 3.11 to 3.14; PYTHON=python3.13 chooses another than `python3`.
# Real Kafka is started from packages alone; KAFKA_BROKERS=host:port uses that cluster instead.

PYTHON ?= python3
BIN := .venv/bin
# Processes that tests run in, each with a Kafka of its own: they wait for it more than they compute.
JOBS ?= 2
LOCKED := .venv/.locked
WHEEL := .venv/.wheel
# Folders are named too: their time changes when a file in them goes away.
SOURCES := $(shell find stream_monitor -name __pycache__ -prune -o -print) pyproject.toml README.md LICENSE NOTICE
COMPILE := $(BIN)/uv pip compile pyproject.toml --universal --generate-hashes --no-annotate --no-header \
	--no-emit-package stream-monitor --python-version 3.11 --quiet
# The build backend alone, as it is locked for development: what deploy/Dockerfile builds the wheel with.
BACKEND = printf 'hatchling\n' | $(BIN)/uv pip compile - --universal --generate-hashes --no-annotate --no-header \
	--python-version 3.11 --quiet --constraint requirements/dev.txt --output-file requirements/build.txt
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# The time that stands in the files of a wheel and an sdist: that of the last commit.
DATED = SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 1580601600)}
# What is installed is what runs: Python leaves the current folder out of its search path,
# also in the processes that a test or the demo starts.
INSTALLED := env -u PYTHONPATH PYTHONSAFEPATH=1

.PHONY: setup demo test nightly lint format pages dist dependencies lock lock-upgrade clean

setup: $(WHEEL)

# Dependencies come from the lock alone, each file checked by hash; the build backend is in it
# too. The .pth file puts this folder last on the search path, for `tests` and `examples`.
$(LOCKED): requirements/dev.txt
	@echo "Setting up .venv from the locked packages: about a minute, once"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15) and "needs Python 3.11 to 3.14; say PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) install --require-hashes --requirement requirements/dev.txt
	@pwd > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/checkout.pth"
	@touch $@

# The project itself is built and installed as others get it, anew where a source has changed.
$(WHEEL): $(LOCKED) $(SOURCES)
	@rm -rf build/wheel
	@$(DATED) $(BIN)/python -m hatchling build --target wheel --directory build/wheel >/dev/null
	@$(PIP) install --no-deps --no-index --force-reinstall build/wheel/*.whl
	@touch $@

demo: setup
	@$(INSTALLED) $(BIN)/python -m examples.flights $(ARGS)

test: setup
	$(INSTALLED) TEST_THE_WHEEL=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadgroup $(ARGS)

# All that docs/statistics.md promises, measured with seeds from the commit's hash; what is found is kept.
nightly: setup
	mkdir -p .nightly
	$(INSTALLED) $(BIN)/python -m benchmarks.promise --size full --jobs 2 $(ARGS) \
		--out .nightly/promise-$$(git rev-parse --short HEAD).json

# The same bytes wherever and whenever a commit is built.
dist: $(LOCKED)
	rm -rf dist
	$(DATED) $(BIN)/python -m hatchling build --directory dist
	$(BIN)/check-wheel-contents dist
	cd dist && sha256sum *

# How many packages each extra brings, and how large they are.
dependencies: $(WHEEL)
	@$(INSTALLED) $(BIN)/python benchmarks/dependencies.py

lint: $(LOCKED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(LOCKED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The reference pages and the configuration's schema, from the code.
pages: setup
	@$(INSTALLED) $(BIN)/python -m stream_monitor.cli.pages

# Adds what pyproject.toml newly asks for and leaves the rest as it is locked.
lock: $(LOCKED)
	$(COMPILE) --extra worker --output-file requirements/runtime.txt
	$(COMPILE) --all-extras --output-file requirements/dev.txt
	$(BACKEND)

lock-upgrade: $(LOCKED)
	$(COMPILE) --extra worker --upgrade --output-file requirements/runtime.txt
	$(COMPILE) --upgrade --all-extras --output-file requirements/dev.txt
	$(BACKEND) --upgrade

clean:
	rm -rf .venv build dist .demo .kafka .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
