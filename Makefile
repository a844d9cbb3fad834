# Everything a fresh machine needs is Python >= 3.11, git and make: the first target sets up .venv from hashes.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PATH := $(BIN):$(PATH)
export UV_LINK_MODE ?= copy

.PHONY: help setup repro test test-fast lint lock recipes bench clean
help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready  ## install the locked environment into .venv

.venv/.ready: requirements.lock pyproject.toml tools/bootstrap.sh
	@PYTHON=$(PYTHON) sh tools/bootstrap.sh

repro: setup  ## run the pipeline that params.yaml describes (the demo, on a fresh clone)
	@. $(BIN)/activate && dvc repro

# Four processes, also on two processors: many tests wait for what they have started or killed.
test: setup  ## run the whole test suite
	@. $(BIN)/activate && python -m pytest -n 4 --dist loadfile

test-fast: setup  ## the suite without the tests that drive real dvc
	@. $(BIN)/activate && python -m pytest -n 4 --dist loadfile -m "not e2e"

lint: setup  ## style, imports, types
	@ruff check . && ruff format --check . && pyright

lock: setup  ## resolve requirements.lock again from pyproject.toml
	uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --group dev pyproject.toml -o requirements.lock

bench: setup  ## measure against plain tools, side by side (an hour and more)
	@python -m benchmarks

clean:  ## remove the environment and everything the pipeline made here (the store stays)
	rm -rf .venv data/raw/demo data/interim data/processed models results/plots
