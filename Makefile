# The product's two first commands are `make lab` and `make test`. Both set up what they need.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

ifneq ($(words $(CURDIR)),1)
$(error The path of this folder holds a space, which Ansible does not take in the path of an interpreter: move it)
endif

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB ?= .lab
N ?=
SEED ?= 1
SCENARIO ?=
CORE ?=

# Ansible finds collections, and Python finds ansible_collections.netcure.soc, through a link in here.
COLLECTIONS := $(CURDIR)/.cache/collections
export ANSIBLE_COLLECTIONS_PATH := $(COLLECTIONS)
export PYTHONPATH := $(COLLECTIONS):$(CURDIR)
export PATH := $(CURDIR)/$(BIN):$(PATH)
export LC_ALL := C.UTF-8

.PHONY: help lab lab-down test lint sanity unit integration crash crash-mutants molecule vagrant bench bench-collect build readmes clean lock setup system

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

lab: setup ## Set up and run the whole SOC on this machine, with a real Elasticsearch
	@python -m lab run --folder "$(LAB)"

lab-down: ## Stop what `make lab` started
	@if [ -x $(BIN)/python ]; then python -m lab down --folder "$(LAB)"; fi

test: setup ## Set up and run every test
	@tests/run

lint: setup ## Check style and documentation
	@tests/run lint

sanity: setup ## Run ansible-test sanity
	@tests/run sanity

unit: setup ## Run the unit tests
	@tests/run unit

integration: setup ## Run the modules through Ansible against the lab's services
	@tests/run integration

crash: setup ## Kill collecting processes in random schedules (N= schedules, SEED=)
	@python -m pytest -q -n 2 --dist loadfile tests/crash --crash-seed $(SEED) $(if $(N),--crash-schedules $(N))

crash-mutants: setup ## Break the code on purpose: the crash tests must notice (SEED=)
	@python -m tests.crash.mutants --seed $(SEED) $(if $(N),--schedules $(N))

molecule: setup ## Test roles on hosts with systemd, in containers (SCENARIO="single cluster", all without it; DEBIAN=13 CORE=2.18)
	@requirements/docker
	@requirements/molecule $(PYTHON) $(BIN)/uv .cache/molecule$(CORE) $(CORE)
	@CORE=$(CORE) tests/molecule $(SCENARIO)

vagrant: ## Test the Vagrantfile, without starting a machine
	@requirements/docker
	@requirements/vagrant
	@tests/vagrant

bench: setup ## Measure what matters first, one JSON line a figure
	@python -m tests.benchmarks --folder "$(LAB)"

bench-collect: setup ## Measure collecting: what a record costs, how that grows, an idle cycle, a replay (N= documents)
	@python -m tests.benchmarks.collect --folder "$(LAB)" $(if $(N),--replay $(N))

readmes: setup ## Write the READMEs of the roles anew from their specifications
	@python -m tests.readmes

build: $(VENV)/.ready ## Build the collection's artefact in dist/
	@ansible-galaxy collection build --force --output-path dist .

lock: setup ## Lock the versions of all Python libraries anew
	@uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
		requirements/runtime.in -o roles/runtime/files/requirements.txt
	@uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
		requirements/dev.in -o requirements/dev.txt
	@uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
		requirements/bootstrap.in -o requirements/bootstrap.txt
	@uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" \
		requirements/molecule.in -o requirements/molecule.txt

clean: lab-down ## Remove everything that these commands made in this folder
	@if [ -x $(BIN)/python ]; then python -m lab remove --folder "$(LAB)"; fi
	@rm -rf $(VENV) "$(LAB)" .cache .ansible .hypothesis .ruff_cache dist tests/output
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(VENV)/.ready system

$(VENV)/.ready: requirements/bootstrap.txt requirements/dev.txt
	@requirements/setup $(PYTHON) $(VENV)

system: $(VENV)/.ready
	@requirements/system $(BIN)/bindep
	@mkdir -p "$(COLLECTIONS)/ansible_collections/netcure"
	@ln -sfn "$(CURDIR)" "$(COLLECTIONS)/ansible_collections/netcure/soc"
