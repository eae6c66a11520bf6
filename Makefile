# The doors. `make` lists them.
PYTHON   ?= python3
SCALE    ?= laptop
LAUNCHER ?= basic
DATASET  ?= mnist
PY       := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help data fig1 fig2 test bench style clean-venv

help:  ## list the doors
	@echo "turnover: which training examples does my network memorize?"
	@echo
	@grep -hE '^[a-z0-9 -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F '\t' '{printf "  make %-8s %s\n", $$1, $$2}'
	@echo
	@echo "  SCALE=smoke|laptop|paper (now $(SCALE))   LAUNCHER=basic (now $(LAUNCHER))   PYTHON=$(PYTHON) makes .venv"

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"turnover needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}; try make PYTHON=python3.12")'
	@echo "making .venv with the versions pinned in pyproject.toml (about 6 GB, a few minutes the first time)"
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --disable-pip-version-check -e '.[experiments,dev]'
	@touch $@

data: .venv/installed  ## fetch DATASET=mnist|fashion_mnist|cifar10, checksums verified
	$(PY) scripts/data.py --dataset $(DATASET)

fig1: .venv/installed  ## figure 1: the mechanism, drawn from real masks (seconds)
	$(PY) scripts/figure.py figure=fig1 scale=$(SCALE)

fig2: .venv/installed  ## figure 2: memorization scores of MNIST, clean and corrupted (laptop: about 14 minutes)
	$(PY) scripts/train.py -m +experiment=$@ scale=$(SCALE) hydra/launcher=$(LAUNCHER)
	$(PY) scripts/figure.py figure=$@ scale=$(SCALE)

test: .venv/installed  ## all tests, with style and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -n 2

bench: .venv/installed  ## measure speed, side by side (about 2 minutes)
	$(PY) scripts/benchmark.py
