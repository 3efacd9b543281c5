# `make run` and `make test` set up what they need in .venv.
#
# TORCH_INDEX names the package index that PyTorch is installed from, e.g. PyTorch's own index of builds for CPUs.
# It has no default: without it pip's own index is used.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
TESTABLE := $(VENV)/testable

# Four runs: whole episodes; the same episodes cut; cut, with two kinds of temporal augmentation. Two at a time.
ROWS := antmaze_joined,antmaze_cut,antmaze_direct,antmaze_stitch
SWEEP := $(BIN)/python -m stitchrl -m hydra/launcher=joblib hydra.launcher.n_jobs=2 +experiment=$(ROWS)
DOCS := NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet --strict
GENERATE := $(BIN)/python -m stitchrl.generate dataset=antmaze_umaze_cut3 if_missing=true
# What `make run` differs in from `make paper-size`. Fewer transitions hold fewer episodes that join a task: 10 of them
# make it seen, and not 50.
DATA ?= dataset.transitions=150000 dataset.min_episodes=10
BUDGET ?= budget=first_look

# Two for each core: many tests wait for the commands that they run.
TESTERS := $(shell $(PYTHON) -c "import os; print(2 * os.cpu_count())")

.PHONY: run paper-size test docs

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

# The tests need more than a run does: linters, the documentation, and other projects' readers.
$(TESTABLE): $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The main job, small: minutes.
run: $(INSTALLED)
	$(GENERATE) $(DATA)
	$(SWEEP) $(BUDGET) $(DATA) hydra.sweep.dir=runs/main
	$(BIN)/python -m stitchrl.report runs/main --out report

# The main job at the size of the results in docs/results: hours.
paper-size: $(INSTALLED)
	$(GENERATE)
	$(SWEEP) hydra.sweep.dir=runs/paper-size
	$(BIN)/python -m stitchrl.report runs/paper-size --out report-paper-size

test: $(TESTABLE)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(DOCS)
	$(BIN)/pytest --numprocesses=$(TESTERS) --dist=loadfile

# Into site/, without the network. Warnings are errors.
docs: $(TESTABLE)
	$(DOCS)
