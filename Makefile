# What can be made. `make` lists it.
PYTHON   ?= python3
SCALE    ?= laptop
LAUNCHER ?= basic
DATASET  ?= mnist
OVERRIDES ?=
PY       := .venv/bin/python

.DEFAULT_GOAL := help
FIGURES := $(basename $(notdir $(shell ls conf/figure/*.yaml | sort -V)))
.PHONY: help data language survey test test-oldest test-slurm slurm-up slurm-down stress stress-slurm check-reference repro-check bench validate validate_labels report reproduce paper audit docs readme notebooks $(FIGURES)

help:  ## this list
	@echo "turnover: which training examples does my network memorize?"
	@echo
	@grep -hE '^[a-z0-9_ -]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F '\t' '{printf "  make %-15s %s\n", $$1, $$2}'
	@echo
	@for each in $(FIGURES); do \
	  printf "  make %-15s %s\n" $$each "$$(sed -nE 's/^title: *"?([^"]*)"?$$/\1/p' conf/figure/$$each.yaml)"; done
	@echo
	@echo "  SCALE=smoke|laptop|paper (now $(SCALE))   LAUNCHER=basic|joblib|slurm (now $(LAUNCHER))   PYTHON=$(PYTHON) makes .venv"
	@echo "  OVERRIDES=\"seed=0 optimizer.lr=0.03\" runs and draws a figure with other values"

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"turnover needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}; try make PYTHON=python3.12")'
	@echo "making .venv with the versions of constraints.txt (about 6 GB, a few minutes the first time)"
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[experiments,wandb,huggingface,lightning,docs,notebooks,dev]'
	@touch $@

data: .venv/installed  ## fetch DATASET=mnist|fashion_mnist|cifar10|sotu|spdx, checksums verified
	$(PY) scripts/data.py --dataset $(DATASET)

$(FIGURES): .venv/installed
	$(call FIGURE,figure=$@)

comma := ,
space := $(subst ,, )
FIGURE = $(PY) scripts/figure.py $(1) scale=$(SCALE) launcher=$(LAUNCHER) 'overrides=[$(subst $(space),$(comma),$(foreach each,$(OVERRIDES),"$(each)"))]'

language: .venv/installed  ## which texts does a language model memorize? its five figures
	$(call FIGURE,-m figure=$(subst $(space),$(comma),$(filter language_%,$(FIGURES))))

SURVEY := benign exposure factors localization methods planted pruning similarity tied unlearning

survey: .venv/installed  ## what the survey "Memorization in deep learning" names: its ten figures
	$(call FIGURE,-m figure=$(subst $(space),$(comma),$(SURVEY)))

reproduce: .venv/installed  ## everything: plan, figures, studies, validation, bench, report; kept in outputs/reference
	$(PY) scripts/reproduce.py --scale $(SCALE) --launcher $(LAUNCHER)

paper: .venv/installed  ## what has not been run at the paper's own scale: plan in minutes first; stopped, it goes on
	$(PY) scripts/reproduce.py --scale paper --launcher $(LAUNCHER) --only fig10,fig4_vgg,bench
	$(MAKE) fig8 SCALE=paper OVERRIDES="turnover.layers=null epochs=200 schedule=multistep"

validate: .venv/installed  ## which score is right? every estimator against ground truth
	$(PY) scripts/validate.py scale=$(SCALE) launcher=$(LAUNCHER)

validate_labels: .venv/installed  ## who finds labels of people that differ? LABELS=file.csv (id,label) or file.npy, of DATASET
	@$(if $(value LABELS),,echo "make validate_labels LABELS=path: a csv file with columns id and label, or an npy file"; exit 2)
	$(PY) scripts/validate.py 'labels.path=$(subst ','\'',$(value LABELS))' labels.setting=$(DATASET:fashion_mnist=fashion)_3000 scale=$(SCALE) launcher=$(LAUNCHER)

# neither make nor the shell reads anything in the path
audit: .venv/installed  ## wrong labels in your own images: DATA=folder, file.csv or file.npz
	@$(if $(value DATA),,echo "make audit DATA=path: a folder with a subfolder of images for each class, a csv file with columns path and label, or an npz file with x and y"; exit 2)
	$(PY) scripts/audit.py 'data=$(subst ','\'',$(value DATA))' $(foreach each,features size,$(if $(value $(each)),'$(each)=$(subst ','\'',$(value $(each)))')) $(OVERRIDES)

report: .venv/installed  ## one page of all results that opens offline: outputs/report/index.html
	$(PY) scripts/report.py scale=$(SCALE)

test: .venv/installed  ## all tests, with style and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy & types=$$!; \
	  $(PY) -m pytest -n 2 --dist loadscope --no-loadscope-reorder; tests=$$?; \
	  wait $$types && exit $$tests

slurm-up:  ## a real Slurm on this machine, to try LAUNCHER=slurm (Debian, as root)
	scripts/slurm.sh up

slurm-down:  ## stop it
	scripts/slurm.sh down

test-slurm: .venv/installed  ## a sweep on that Slurm, preempted and with a failing node (about 5 minutes)
	scripts/slurm.sh up
	SLURM_CONF=$${TURNOVER_SLURM:-/var/tmp/turnover-slurm}/slurm.conf $(PY) -m pytest tests/runs/test_slurm.py; \
	  code=$$?; scripts/slurm.sh down; exit $$code

OLDEST := sed -n '/^dependencies/,/^]/s/^    "\(.*\)>=\(.*\)",/\1==\2/p' pyproject.toml

test-oldest:  ## the Python API with the oldest versions that pyproject.toml allows, in an environment of its own
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --disable-pip-version-check $$($(OLDEST)) pytest pytest-timeout hypothesis scipy -e .
	.venv-oldest/bin/python -m pytest tests/test_api.py tests/core/test_masks.py tests/core/test_subnetworks.py tests/core/test_odd_networks.py

stress-slurm: .venv/installed  ## ten sweeps on that Slurm, disturbed at random moments: jobs cancelled and killed, node and controller gone (about half an hour)
	scripts/slurm.sh up
	SLURM_CONF=$${TURNOVER_SLURM:-/var/tmp/turnover-slurm}/slurm.conf TURNOVER_SWEEPS=10 $(PY) -m pytest -s tests/runs/test_slurm_at_random.py; \
	  code=$$?; scripts/slurm.sh down; exit $$code

stress: .venv/installed  ## 300 kills at random moments, 8 processes at once on one store, then faults of every command; nothing may be lost
	$(PY) scripts/stress.py
	$(PY) scripts/faults.py

check-reference: .venv/installed  ## the smallest committed result made again, and all held against conf/ and their own tables
	$(PY) scripts/check_reference.py

repro-check: .venv/installed  ## the same run twice, on 1 and on 2 threads: are its tables the same bytes?
	$(PY) scripts/repro_check.py

docs: .venv/installed  ## build the documentation into outputs/docs; nothing is fetched
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet
	@echo "open outputs/docs/index.html"

readme: .venv/installed  ## write the README's tables anew from outputs/reference
	$(PY) scripts/readme.py

notebooks: .venv/installed  ## make notebooks/*.ipynb anew from the scripts of the same names, without outputs
	$(PY) scripts/notebooks.py

bench: .venv/installed  ## measure speed, side by side (about 15 minutes)
	$(PY) scripts/benchmark.py
