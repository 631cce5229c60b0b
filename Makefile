# Everything a developer does here. `make` lists it; the machine needs Python ≥ 3.11, git and make.
#
#   make test ARGS="-k push"      ARGS goes to the command of the target
#   make serve PORT=8001          another port
#   make PYTHON=python3.12 …      another Python for .venv
#   make test WORKERS=0           tests one after the other, for a debugger

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PY := $(BIN)/python
SOURCES := backend sync clients/python_sdk/src clients/python_sdk/examples
CHECKED := $(SOURCES) tests $(sort $(dir $(wildcard loadtests/*.py))) manage.py
PROSE := docs clients/python_sdk/README.md clients/python_sdk/docs $(wildcard *.md) Makefile Dockerfile docker-compose.yml requirements/install.sh .ci
WITH_STACK := $(PY) -m backend.devstack run --fast --
# The settings refuse to load without it; where it is used, nothing connects.
NO_DATABASE := DATABASE_URL=postgresql://nowhere/none
PORT ?= 8000
PROFILE ?= monday
SEED ?= 1
WORKERS ?= 2
PYTEST := $(PY) -m pytest -n $(WORKERS) --dist loadgroup
ARGS ?=
export PYTHON PORT

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: install
install: ## Make .venv with the pinned packages (every target does it when needed)
	@requirements/install.sh

.PHONY: demo
demo: install ## Eight phones, a bad network, real repair jobs; proves that nothing was lost or doubled
	@$(PY) -m backend.demo $(ARGS)

.PHONY: serve
serve: install ## Run the server with demo data on http://127.0.0.1:8000 (PORT=…, ARGS="--data DIR")
	@$(PY) -m backend.devstack serve $(ARGS)

.PHONY: test
test: install ## Run the tests on a real PostgreSQL and Valkey (ARGS="-k …")
	@$(WITH_STACK) $(PYTEST) $(ARGS)

.PHONY: test-pgbouncer
test-pgbouncer: install ## Run the tests with PgBouncer before PostgreSQL, a session for each transaction
	@$(PY) -m backend.devstack run --fast --pooled -- $(PYTEST) $(ARGS)

# TLC is no package: TLA2TOOLS names its jar. The last three are how it goes wrong, and must.
SPECS := Feed Key
WRONG_SPECS := FeedSequence KeyTwoTransactions KeyLookedUp
TLC = java -XX:+UseParallelGC -cp $(TLA2TOOLS) tlc2.TLC -deadlock -workers auto -metadir $(or $(TMPDIR),/tmp)/fieldsync-tlc
.PHONY: specs
specs: ## Check the TLA+ specifications of docs/specs (TLA2TOOLS=tla2tools.jar, needs Java)
	@test -f "$(TLA2TOOLS)" || { echo "say where TLC is: make specs TLA2TOOLS=path/to/tla2tools.jar" >&2; exit 2; }
	@cd docs/specs && for name in $(SPECS); do $(TLC) -config $$name.cfg $$name.tla; done
	@cd docs/specs && for name in $(WRONG_SPECS); do \
		echo "$$name must be found wrong"; \
		! $(TLC) -config $$name.cfg $$(echo $$name | sed 's/Sequence\|TwoTransactions\|LookedUp//').tla; \
	done

# One line a chapter; 16 chapters of 65 histories (the SDK's: 100 and more) a law, where `make test`
# has one.
.PHONY: laws
laws: install ## Try the laws of the pull, those of the SDK on 5,000 histories each, and all orders of steps
	@GAPS_ROUNDS=100 INTERRUPTIONS=3 $(WITH_STACK) $(PYTEST) -v --hypothesis-profile=many tests/laws/test_pull.py \
		tests/sdk/test_laws.py tests/faults/test_feed_has_no_gaps.py tests/faults/test_interleavings.py $(ARGS)

# 2,000 histories; --bugs hunts for planted bugs instead, --list names what can happen.
.PHONY: faults
faults: install ## Play random histories while servers and databases die, and hold them to the laws (SEED=1)
	@$(PY) -m tests.faults.campaign --seed $(SEED) $(ARGS)

.PHONY: soak
soak: install ## Let people work while something dies every five seconds, 15 minutes (ARGS="--minutes 2")
	@$(PY) -m tests.faults.soak --seed $(SEED) $(ARGS)

.PHONY: up
up: ## Run everything in containers (HOST=sync.example.com, or http://localhost); needs Docker
	@test -n "$(HOST)" || { echo "say for which host: make up HOST=sync.example.com" >&2; exit 2; }
	@$(or $(PYTHON),python3) deploy/make_env.py "$(HOST)"
	docker compose up --build --detach --wait

.PHONY: openapi
openapi: install ## Write docs/openapi anew, from the code
	@for version in v1 v2; do \
		$(NO_DATABASE) DJANGO_SETTINGS_MODULE=backend.settings.test $(PY) manage.py spectacular \
			--validate --fail-on-warn --api-version $$version --file docs/openapi/$$version.yaml; \
	done

.PHONY: bench
bench: install ## Measure pushes and pulls against a bare floor, 10 minutes (ARGS="--quick", ARGS="--help")
	@$(PY) -m loadtests.bench $(ARGS)

RESULTS := loadtests/results
.PHONY: load
load: install ## Send a crowd of devices, count every row, draw it (PROFILE=monday, ARGS="--list")
	@mkdir -p $(RESULTS)
	@$(PY) -m loadtests.load $(PROFILE) --save $(RESULTS)/$(PROFILE).json --plot $(RESULTS)/$(PROFILE).png $(ARGS)

.PHONY: load-check
load-check: install ## Hold the storm to the floor's speed in the same run, and to the baseline
	@$(PY) -m loadtests.load.check $(ARGS)

# In order of slowness; each line says by itself what is wrong.
.PHONY: check
check: install ## All that CI runs: format, lint, spelling, layers, dependencies, migrations, types, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell $(CHECKED) $(PROSE)
	$(BIN)/lint-imports
	$(BIN)/deptry .
	cd clients/python_sdk && ../../$(BIN)/deptry . --known-first-party fieldsync
	DJANGO_SETTINGS_MODULE=backend.settings.test $(WITH_STACK) $(PY) manage.py makemigrations --check --dry-run
	$(NO_DATABASE) $(BIN)/mypy $(CHECKED)
	$(BIN)/basedpyright
	$(WITH_STACK) $(PYTEST) $(ARGS)

.PHONY: format
format: install ## Format the code and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# uv.lock is not committed: names of package indexes would be in it. Pins move only where they
# must; ARGS=--upgrade moves all of them.
.PHONY: lock
lock: install ## Write requirements/*.lock anew from pyproject.toml (ARGS=--upgrade for new versions)
	$(BIN)/uv export -q $(ARGS) --all-packages --all-groups --no-emit-workspace --no-header -o requirements/dev.lock
	$(BIN)/uv export -q --package fieldsync-server --no-default-groups --no-emit-workspace --no-header -o requirements/server.lock

.PHONY: clean
clean: ## Remove .venv, caches and build output
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
