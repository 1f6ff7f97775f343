# `make help` lists what there is. Everything runs in .venv, made here when it is missing.
PROFILE ?= demo
CORES ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
.DEFAULT_GOAL := help
.PHONY: help book pdf check-book plan study rehearse test lint lab explore bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?/  make \1|/' | column -t -s '|'
	@echo "  PROFILE=demo|smoke|real|paper|path.yaml   CORES=n   ONLY=name or name:case (bench)"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the requirements into $(VENV) (about two minutes, 2 GB)"
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

book: $(READY)  ## compute the study of PROFILE and render its report
	@$(BIN)/ssrobust book $(PROFILE) --cores $(CORES)

pdf: $(READY)  ## the same, and the report as PDF (needs Chromium)
	@$(BIN)/ssrobust book $(PROFILE) --cores $(CORES) --pdf

check-book: $(READY)  ## look for dead links, errors and barriers to readers in the report of PROFILE
	@$(BIN)/ssrobust check-book runs/$(PROFILE)/book

plan: $(READY)  ## print the cells of PROFILE with estimated time and disk
	@$(BIN)/ssrobust plan $(PROFILE) --cores $(CORES)

study: $(READY)  ## compute the study of PROFILE without rendering
	@$(BIN)/ssrobust study $(PROFILE) --cores $(CORES)

rehearse: $(READY)  ## try PROFILE out before its images are there: two steps of everything on a few full-size phantoms
	@$(BIN)/ssrobust rehearse $(PROFILE) --cores $(CORES)

test: $(READY) lint  ## check style and types, run the tests
	@$(BIN)/python -m pytest

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/mypy

lab: $(READY)  ## open JupyterLab on the notebooks
	@MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=34359738368 MALLOC_TOP_PAD_=268435456 $(BIN)/jupyter lab notebooks

explore: $(READY)  ## open JupyterLab on single images of a finished run of PROFILE: what each arm says of them
	@$(BIN)/ssrobust explore $(PROFILE)

bench: $(READY)  ## run benchmarks/ (ONLY=name for one, ONLY=study:smoke for one case): what, measured, goal, met or missed
	@$(BIN)/python -m benchmarks $(ONLY)

clean:  ## remove the runs and their books (asks nothing)
	rm -rf runs
