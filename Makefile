# `make help` lists the targets. The pipeline itself is dvc.yaml; this file makes the environment and gives names
# to the commands that people and CI run.
.DEFAULT_GOAL := help
.PHONY: help environment repro real paper test long fast mutants lint lock docs docs-site pictures licences clean
SHELL := /bin/bash

JOBS ?= auto
# TORCH=cpu makes an environment with PyTorch's CPU build (2.2 GB in place of 6); `make` remembers it
TORCH ?= $(shell cat .venv/.torch 2>/dev/null)
ENV := .venv
BIN := $(ENV)/bin
# uv from the path if it works there, else a copy of our own (a rule below fetches it, by version and hash)
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv || echo .tools/bin/uv)
# a Python with pip for that, which an environment made by uv is not
PYTHON = $(shell for p in $$(type -ap python3.11 python3); do $$p -m pip --version >/dev/null 2>&1 && echo $$p && break; done)

# what the stages start is found in the environment, also when a stage is run by DVC or Snakemake
export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(ENV)
# without byte code every process compiles its modules anew: `snakemake -n` takes 6 s instead of 2. So all of it is made
# with the environment (40 s of processor time): most containers let no later process write any
unexport PYTHONDONTWRITEBYTECODE
export UV_COMPILE_BYTECODE := 1

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

environment: $(ENV)/.synced ## Make .venv from the hash-locked requirements (TORCH=cpu: without CUDA)

.tools/bin/uv:
	@test -n "$(PYTHON)" || { echo 'no uv, and no python3 with pip to fetch it: install either'; exit 1; }
	$(PYTHON) -m pip install --quiet --target .tools --require-hashes --only-binary :all: --requirement .ci/uv.txt

# `uv pip sync` removes what is not locked, so the project itself is added after it, each time. What is locked as source
# (no wheel is published) is built with the locked setuptools: build constraints hold its hashes too. CPU builds of PyTorch
# come from PyTorch's own index, which uv knows; they are told by version, as the lock holds no hashes of them
$(ENV)/.synced: requirements.lock pyproject.toml
	$(if $(filter .tools/bin/uv,$(UV)),@$(MAKE) --silent .tools/bin/uv)
	$(UV) venv --quiet --allow-existing --python 3.11 $(ENV)
ifeq ($(TORCH),cpu)
	awk '/^[a-z]/ {skip = /^(torch|torchvision|triton|nvidia-[^=]*|cuda-[^=]*)==/} !skip' requirements.lock > .tools/cpu.lock
	$(UV) pip sync --quiet --require-hashes --build-constraints requirements.lock .tools/cpu.lock
	$(UV) pip install --quiet --no-deps --torch-backend cpu $$(grep -oE '^torch(vision)?==[^ ]+' requirements.lock)
	@echo cpu > $(ENV)/.torch
else
	$(UV) pip sync --quiet --require-hashes --build-constraints requirements.lock requirements.lock
endif
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q src
	@touch $@

repro: environment ## Run the pipeline of params.yaml (what is up to date is not run again)
	$(BIN)/dvc repro

real: environment ## Run the pipeline on real photos (Flickr8k, HierarCaps)
	@if [ -z "$$ITM_MIRROR" ]; then \
	  echo 'ITM_MIRROR is not set: the photos come from the hosts named in data/catalogue.yaml.'; \
	  echo 'With a copy of your own, set ITM_MIRROR to its folder; data/README.md says what it holds.'; \
	fi
	$(BIN)/itm preset flickr8k
	$(BIN)/dvc repro

paper: environment ## Train METHOD of the recipe regions on DATA, with the changes WITH; print its figures beside the paper's
	@test -n "$(DATA)" -a -n "$(METHOD)" || { echo 'name both: make paper DATA=coco METHOD=esl-token'; exit 1; }
	$(BIN)/itm plan regions data=$(DATA) 'methods=[$(METHOD)]' $(WITH)
	$(BIN)/itm preset regions data=$(DATA) 'methods=[$(METHOD)]' $(WITH)
	$(BIN)/dvc repro
	$(BIN)/itm runs --method $(METHOD) --metric retrieval

PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadgroup

test: environment ## Run all tests but the long ones, side by side (those of real data need ITM_MIRROR)
	$(PYTEST) -m 'not long'

long: environment ## Run disturbed pipelines, a real Slurm, large sizes, and random examples by the hundred (an hour)
	$(PYTEST) -m 'long or hypothesis' --hypothesis-profile thorough

fast: environment ## Run the tests that take a moment each
	$(PYTEST) -m 'not slow and not real and not long'

mutants: environment ## Plant faults one at a time: do the tests notice? (minutes)
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutants

lint: environment ## Check style, types, import floors, the workflow, and that generated docs are current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check workflow
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/python workflow/lint.py
	$(BIN)/python -m itm.config.document --check

docs: environment ## Write docs/configuration.md from the parameter models
	$(BIN)/python -m itm.config.document

docs-site: environment ## Make the pages of docs/ a site in site/; every link is checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pictures: environment ## Draw the pictures of README and docs anew, from the report and models of `make repro`
	$(BIN)/python docs/images/frontier.py
	$(BIN)/python docs/images/screens.py

lock: | $(filter .tools/bin/uv,$(UV)) ## Resolve requirements.in to requirements.lock anew
	$(UV) pip compile --quiet --universal --generate-hashes --no-header --upgrade --python-version 3.11 requirements.in -o requirements.lock
	echo uv | $(UV) pip compile --quiet --generate-hashes --no-header --upgrade --python-version 3.11 - -o .ci/uv.txt

licences: environment ## List the licences of what is locked, and write a bill of materials to sbom.json (CycloneDX)
	$(BIN)/python .ci/licences.py sbom.json

clean: ## Remove logs and the caches of tools; the environment and all data stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache logs
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
