# make demo: the main job on a real Kubernetes, from a fresh Debian machine as root.
# make test: all tests. Both install what they need and clean up after themselves.
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST_ARGS ?=
# Two processes; tests/conftest.py says what runs beside what. `make test PARALLEL=` runs one test after the other.
PARALLEL ?= -n 2 --dist loadfile --no-loadscope-reorder
# The local cluster is never behind the site's proxy (dev/cluster/network.py and commands.py have the addresses).
comma := ,
LOCAL := 127.0.0.1,localhost,::1,172.29.0.1,172.29.0.0/24,10.244.0.0/16,10.96.0.0/16
export NO_PROXY := $(patsubst %,%$(comma),$(or $(NO_PROXY),$(no_proxy)))$(LOCAL)
export no_proxy := $(NO_PROXY)

.PHONY: help setup binaries demo demo-down test check lint types layers crds schema golden docs format locks clean unit cluster nodes

help:
	@echo "make demo       the main job on a real Kubernetes on this machine (Debian 12, root)"
	@echo "make demo-down  take all of it away"
	@echo "make test       lint, types, layers, drift, all tests"
	@echo "make unit       the tests that need nothing but Python"
	@echo "make cluster    the tests on a real control plane, with Dovecot and Redis"
	@echo "make nodes      the tests on real nodes (root)"
	@echo "make crds       write crds/ and the chart's schema anew after a change of the models"
	@echo "make docs       write the generated parts of docs/ anew after a change of models or checks"
	@echo "make golden     write the golden property files anew"
	@echo "make locks      resolve the locked packages anew"

setup:
	@dev/setup.sh

demo: setup
	@$(BIN)/python -m dev.demo

demo-down: setup
	@$(BIN)/python -m dev down

# Before the tests, which would show nothing of the minutes that the first build of Kubernetes takes.
binaries: setup
	@$(BIN)/python -m dev binaries >/dev/null

test: check binaries
	@$(BIN)/pytest $(PARALLEL) $(PYTEST_ARGS)

unit: setup
	@$(BIN)/pytest tests/unit tests/golden $(PYTEST_ARGS)

cluster: setup binaries
	@$(BIN)/pytest $(PARALLEL) -m "not nodes" $(PYTEST_ARGS)

nodes: setup binaries
	@$(BIN)/pytest -m nodes $(PYTEST_ARGS)

check: lint types layers
	@$(BIN)/mail-push crds crds --check
	@$(BIN)/python charts/generate.py --check
	@$(BIN)/python docs/generate.py --check
	@$(BIN)/python docs/decision.py --check

lint: setup
	@test ! -e operator/__init__.py || { echo "operator/__init__.py would shadow the standard library's operator"; exit 1; }
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: setup
	@$(BIN)/mypy

layers: setup
	@$(BIN)/lint-imports

crds schema: setup
	@$(BIN)/mail-push crds crds
	@$(BIN)/python charts/generate.py

docs: setup
	@$(BIN)/python docs/generate.py
	@$(BIN)/python docs/decision.py

golden: setup
	@$(BIN)/python -m tests.golden

format: setup
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# No index address is written into a lock.
locks: setup
	@$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make locks" pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make locks" --extra dev pyproject.toml -o requirements-dev.txt
	@echo hatchling | $(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --custom-compile-command "make locks" -c requirements-dev.txt - -o requirements-build.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -prune -exec rm -rf {} +
