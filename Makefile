# `make demo` and `make test` install what they need and clean up after themselves. `make help` lists the rest.
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST_ARGS ?=
BUSY ?= 0
FAULTS ?=
SCENES ?=
STORE ?= redis
USERS ?= 1500
FUZZ_SECONDS ?= 60
# The Python of the image (Dockerfile); the tests run on Debian's.
IMAGE_PYTHON := 3.13
# `make test COVERAGE=` does without.
COVERAGE ?= --cov --cov-report=term
# Three processes; tests/conftest.py says what runs beside what. `make test PARALLEL=` runs one test after the other.
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder
# The local cluster is never behind the site's proxy (dev/cluster/network.py and commands.py have the addresses).
comma := ,
LOCAL := 127.0.0.1,localhost,::1,172.29.0.1,172.29.0.0/24,10.244.0.0/16,10.96.0.0/16
export NO_PROXY := $(patsubst %,%$(comma),$(or $(NO_PROXY),$(no_proxy)))$(LOCAL)
export no_proxy := $(NO_PROXY)

.PHONY: help fuzz setup demo demo-down chaos lifecycle credentials bench-credentials bench-placement bench-scale bench-namespace bench-stale binaries test unit image-python cluster nodes check lint types layers drift crds schema docs golden \
	changelog format locks clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+( [a-z-]+)*:.*## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## the Python environment in .venv, from the hashed lock
	@dev/setup.sh

demo: setup ## the main job on a real Kubernetes on this machine (Debian 12, root); STORE=mariadb: passwords kept there
	@$(BIN)/python -m dev.demo --store $(STORE)

demo-down: setup ## take all of it away
	@$(BIN)/python -m dev down

chaos: setup ## a steady stream of mail through one fault after another (root); BUSY=2: beside two busy loops
	@$(BIN)/python -m dev.chaos --busy $(BUSY) $(FAULTS)

.PHONY: test-faults bench-rebalance
test-faults: setup ## pods paused and cut off, Redis away: nothing lost, nothing told twice (root, some 15 minutes)
	@$(BIN)/python -m dev.chaos.faulttest $(FAULTS)

bench-rebalance: setup ## who moves, and for how long nobody owns a user, through scaling, restarts and losses (root, some 25 minutes)
	@$(BIN)/python -m dev.chaos.rebalance $(FAULTS)

lifecycle: setup ## install, upgrade, roll back, mend, remove: what an administrator does, with both Helms (root)
	@$(BIN)/python -m dev.lifecycle $(SCENES)

credentials: setup binaries ## the credential storage under faults: stale passwords, lost pods, stores away (root); USERS=10000
	@$(BIN)/python -m tests.credentials --users $(USERS) $(SCENES)

bench-credentials: setup ## how fast 100,000 stored passwords are read, decrypted and rotated, on a real MariaDB
	@$(BIN)/python -m tests.bench.credentials

bench-placement: setup ## how evenly a million users are spread over 100 pods, what one pod more moves, beside other ways
	@$(BIN)/python -m tests.bench.placement

bench-scale: USERS = 100000
bench-scale: setup binaries ## what 100,000 push users cost the operator, the listeners and the API server; USERS=20000
	@$(BIN)/python -m tests.bench.scale --users $(USERS)

bench-stale: USERS = 10000
bench-stale: setup ## cold starts of 10,000 users, 2 % with a stale password, at a real Dovecot with its penalty (root); USERS=1000
	@$(BIN)/python -m tests.bench.coldstart --users $(USERS)

bench-namespace: USERS = 10000
bench-namespace: setup binaries ## how long a namespace with many users takes to end, with the operator up and gone
	@$(BIN)/python -m tests.bench.namespace --users $(USERS)

# Before the tests, which would show nothing of the minutes that the first build of Kubernetes takes.
binaries: setup ## fetch or build Kubernetes and the other programs that the tests run
	@$(BIN)/python -m dev binaries >/dev/null

test: check image-python fuzz binaries ## lint, types, layers, drift, all tests; with the coverage
	@$(BIN)/pytest $(PARALLEL) $(COVERAGE) --durations=20 --durations-min=5 $(PYTEST_ARGS)

unit: setup ## the tests that need nothing but Python
	@$(BIN)/pytest tests/unit tests/golden $(PYTEST_ARGS)

fuzz: setup ## hostile bytes for whatever reads what strangers send, for a minute; FUZZ_SECONDS=600: for ten
	@if $(BIN)/python -c 'import atheris' 2>/dev/null; then \
		$(BIN)/python -m tests.fuzz --seconds $(FUZZ_SECONDS); \
	else \
		echo "no atheris here (it is for CPython 3.11 to 3.13 on x86_64): the unit tests alone try hostile bytes"; \
	fi

# Two faults of the product once showed on one of the two Pythons only.
image-python: setup ## the unit tests on the image's Python, where this machine has one
	@if found=$$($(BIN)/python -m dev python $(IMAGE_PYTHON)); then \
		VENV=.venv-$(IMAGE_PYTHON) PYTHON=$$found dev/setup.sh && \
		.venv-$(IMAGE_PYTHON)/bin/pytest -q $(PARALLEL) tests/unit; \
	else \
		echo "no Python $(IMAGE_PYTHON) here (PYTHON$(subst .,,$(IMAGE_PYTHON))=... names one): the unit tests run on one Python only"; \
	fi

cluster: setup binaries ## the tests on a real control plane, with Dovecot, Redis and MariaDB
	@$(BIN)/pytest $(PARALLEL) -m "not nodes" $(PYTEST_ARGS)

nodes: setup binaries ## the tests on real nodes (root)
	@$(BIN)/pytest -m nodes $(PYTEST_ARGS)

check: lint types layers drift ## all that needs no test to run: lint, types, layers, drift

drift: setup ## whether what is generated fits what it is generated from
	@$(BIN)/mail-push crds crds --check
	@$(BIN)/python charts/generate.py --check
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/python docs/decision.py --check
	@$(BIN)/python docs/sources.py --check

lint: setup ## ruff, and what no tool checks
	@test ! -e operator/__init__.py || { echo "operator/__init__.py would shadow the standard library's operator"; exit 1; }
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: setup ## mypy, strict
	@$(BIN)/mypy

layers: setup ## which room may import which
	@$(BIN)/lint-imports

crds schema: setup ## write crds/ and the chart's schema anew after a change of the models
	@$(BIN)/mail-push crds crds
	@$(BIN)/python charts/generate.py

docs: setup ## write the generated parts of docs/ anew after a change of models or checks
	@$(BIN)/python docs/generate.py
	@$(BIN)/python docs/decision.py
	@$(BIN)/python docs/sources.py

golden: setup ## write the golden property files anew
	@$(BIN)/python -m tests.golden

changelog: setup ## what the next release will say, from changes/
	@$(BIN)/towncrier build --draft --version next

format: setup ## let ruff mend what it can
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# No index address is written into a lock.
locks: setup ## resolve the locked packages anew
	@$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make locks" pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make locks" --extra dev pyproject.toml -o requirements-dev.txt
	@echo hatchling | $(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make locks" -c requirements-dev.txt - -o requirements-build.txt

clean: ## remove what was made in the work tree
	rm -rf .venv .venv-* .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -prune -exec rm -rf {} +
