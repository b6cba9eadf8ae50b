# make run · make run NB=01 · make test · make lab · make lint · make bench · make figures      (each from a fresh clone)
PYTHON ?= python3
NB ?=
SWEEP ?= workflow/sweep.yaml
BIN := .venv/bin
PY := $(BIN)/python
STAMP := .venv/.complete

.PHONY: help setup run test test-long test-gpu test-lowest repository lab lint bench figures refresh book sweep clean

help:
	@echo "make run [NB=01]   execute the notebooks on this machine, end with a table"
	@echo "make lab           open them in JupyterLab"
	@echo "make test          unit tests, then every notebook against its stored outputs"
	@echo "make test-long     the tests that cost minutes each"
	@echo "make book          the notebooks as a site, in book/_build/html, and as one PDF where a Chromium is found"
	@echo "make test-gpu      the tests that need a GPU"
	@echo "make test-lowest   the tests with the lowest versions that requirements.txt allows"
	@echo "make sweep [SWEEP=file.yaml]   run a grid of systems, folds and seeds; again: what is missing"
	@echo "make student [NB=01] | slides [NB=01] | grade FOLDER=copies | pack     for teachers: see teaching/README.md"
	@echo "make lint | bench | figures | refresh [NB=01] | clean"

setup: $(STAMP)
	@$(PY) -m helpers fetch

# Installs again only when one of these files changed.
$(STAMP): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11, 3.12 or 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@echo "installing the tested set of libraries into .venv (a few minutes, once)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

run: setup
	@$(PY) -m helpers run $(NB)

# On all cores, one thread each: test files, and then notebooks, are dealt out to as many processes.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile
test test-long: export OMP_NUM_THREADS = 1
test: setup
	@$(PY) -m pytest $(SIDE_BY_SIDE) tests
	@$(PY) -m pytest $(SIDE_BY_SIDE) --nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks

# What costs minutes each: Colab rehearsed, notebooks killed and run again.
test-long: setup
	@$(PY) -m pytest $(SIDE_BY_SIDE) -m long tests

# On a machine with a GPU, which all other tests do not see.
test-gpu: setup
	@$(PY) -m pytest -m gpu tests

# In an environment of their own (.venv-lowest, 6 GB); Python 3.11.
test-lowest: $(STAMP)
	@$(PY) tests/lowest_versions.py

lab: setup
	@$(BIN)/jupyter lab notebooks/00_start_here.ipynb

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache

bench: setup
	@$(PY) tests/benchmarks/bench_training.py

figures: $(STAMP)
	@$(PY) -m helpers figures

# In an environment of its own (.venv-book). With it, `make test-long` looks at every page in a browser.
BOOK := .venv-book/.complete
$(BOOK): requirements-book.txt
	@test -x .venv-book/bin/python || $(PYTHON) -m venv .venv-book
	@.venv-book/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-book.txt
	@touch $@

book: $(BOOK)
	@.venv-book/bin/python -m book.build --pdf

refresh: setup
	@$(PY) -m helpers refresh $(NB)

# Snakemake has an environment of its own; the cells run in the course's.
sweep: setup .venv-sweep/.complete
	@$(PY) -m helpers sweep $(SWEEP)

.venv-sweep/.complete: requirements-sweep.txt
	@test -x .venv-sweep/bin/python || $(PYTHON) -m venv .venv-sweep
	@.venv-sweep/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-sweep.txt
	@touch $@

# Moves the course to another address: make repository NAME=owner/name
repository: $(STAMP)
	@$(PY) -m helpers repository $(NAME)

# For teachers; see teaching/README.md.
.PHONY: student grade grader lessons slides pack
student: $(STAMP)
	@$(PY) -m classroom.release $(NB)

lessons: $(STAMP)
	@$(PY) -m classroom.lesson $(NB)

slides: $(STAMP)
	@$(PY) -m classroom.slides $(NB)

# One archive with models, data and libraries: make pack [PLATFORM=windows] [PYVERSION=3.12] [TORCH=no]
PLATFORM ?= linux
PYVERSION ?= 3.12
TORCH ?= yes
pack: setup
	@$(PY) -m classroom.pack --platform $(PLATFORM) --python $(PYVERSION) $(if $(filter no,$(TORCH)),--without-torch)

FOLDER ?=
SECONDS ?= 30
TRUST ?=
GRADER := .venv-classroom/bin/python

grade: $(STAMP) grader
	@test -n "$(FOLDER)" || { echo "Say where the copies are: make grade FOLDER=copies"; exit 2; }
	@$(GRADER) -m classroom.grade "$(FOLDER)" --seconds $(SECONDS) $(if $(TRUST),--trust)

# nbgrader, in an environment of its own.
grader: .venv-classroom/.complete
.venv-classroom/.complete: requirements-classroom.txt
	@test -x $(GRADER) || $(PYTHON) -m venv .venv-classroom
	@echo "installing nbgrader into .venv-classroom (a minute, once)"
	@$(GRADER) -m pip install --quiet --disable-pip-version-check -r requirements-classroom.txt
	@touch $@

clean:
	rm -rf .venv .venv-classroom .venv-lowest .venv-colab .venv-sweep .venv-book book/_build runs pack student data/cache
