# `make run` and `make test` set up what they need in .venv.
#
# TORCH_INDEX names the package index that PyTorch is installed from, e.g. PyTorch's own index of builds for CPUs.
# It has no default: without it pip's own index is used.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
TESTABLE := $(VENV)/testable
TRANSITIONS ?= 300000

MAIN := $(BIN)/python -m stitchrl +experiment=antmaze_stitch dataset.transitions=$(TRANSITIONS) workers=1

.PHONY: run test joined cut stitch direct

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

# The tests need more than a run does: linters, and other projects' readers.
$(TESTABLE): $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The main job: clone on whole episodes, on the same episodes cut, and on those with two kinds of temporal augmentation.
run: $(INSTALLED)
	$(BIN)/python -m stitchrl.generate dataset=antmaze_umaze_cut3 dataset.transitions=$(TRANSITIONS) if_missing=true
	$(MAKE) --no-print-directory --jobs=2 joined cut stitch direct
	$(BIN)/python -m stitchrl.report runs/main --out report

joined: $(INSTALLED)
	$(MAIN) dataset=antmaze_umaze_joined goals=future hydra.run.dir=runs/main/joined

cut: $(INSTALLED)
	$(MAIN) goals=future hydra.run.dir=runs/main/cut

stitch: $(INSTALLED)
	$(MAIN) hydra.run.dir=runs/main/stitch

direct: $(INSTALLED)
	$(MAIN) goals=direct hydra.run.dir=runs/main/direct

test: $(TESTABLE)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest
