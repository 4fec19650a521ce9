# One environment in .venv; a stamp per set of extras makes a second call install nothing.

PYTHON ?= python3
VENV ?= .venv
OUT ?= out
PYTEST_ARGS ?=
ARGS ?=

PY := $(VENV)/bin/python
INSTALL := $(PY) -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
RECIPE := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-flags test-backends test-environments lint types format bench fuzz docs clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "stiffguide needs Python 3.11 or newer; try: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: $(RECIPE) | $(PY)
	$(INSTALL) --editable '.[cli,plot,digits]'
	@touch $@

$(VENV)/test.stamp: $(RECIPE) | $(PY)
	$(INSTALL) --editable '.[test,dev,digits,docs]'
	$(INSTALL) --no-deps k-diffusion torchsde trampoline  # its own needs pin numpy below 2
	@touch $@

$(VENV)/bench.stamp: $(RECIPE) | $(PY)
	$(INSTALL) --editable '.[bench]'
	@touch $@

demo: $(VENV)/demo.stamp  ## solve, plot and compare; results in out/
	$(PY) -m stiffguide demo --out $(OUT)

# One thread per worker: the problems are small, and workers would fight over the cores.
test: $(VENV)/test.stamp  ## every test
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto $(PYTEST_ARGS)

test-fast: $(VENV)/test.stamp  ## the tests, without the slow ones
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto -m "not slow" $(PYTEST_ARGS)

test-flags: $(VENV)/test.stamp  ## the laws of the kernels under other compilers and roundings
	OMP_NUM_THREADS=1 $(PY) tools/flags.py -n auto $(PYTEST_ARGS)

test-backends: $(VENV)/test.stamp  ## the suite with every solve by a kernel that can be, and by the eager loop
	STIFFGUIDE_BACKEND=eager OMP_NUM_THREADS=1 $(PY) -m pytest -n auto $(PYTEST_ARGS)
	STIFFGUIDE_BACKEND=kernel OMP_NUM_THREADS=1 $(PY) -m pytest -n auto $(PYTEST_ARGS)

test-environments: $(VENV)/test.stamp  ## the laws of the kernels on other machines: umasks, no home, ...
	OMP_NUM_THREADS=1 $(PY) tools/environments.py -n auto $(PYTEST_ARGS)

lint: $(VENV)/test.stamp  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

types: $(VENV)/test.stamp  ## pyright: that every public type is known, and wrong uses are refused
	$(PY) tools/typing_report.py

format: $(VENV)/test.stamp  ## let ruff rewrite what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(VENV)/bench.stamp  ## ratios against other solvers, side by side
	-$(PY) tools/anchors.py
	STIFFGUIDE_CACHE=$$(mktemp -d) $(PY) benchmarks/stiff.py --out $(OUT)/stiff_benchmark.md
	$(PY) benchmarks/nonstiff.py --out $(OUT)/nonstiff_benchmark.md
	$(PY) benchmarks/batch.py --out $(OUT)/batch_benchmark.md
	STIFFGUIDE_CACHE=$$(mktemp -d) $(PY) benchmarks/scipy_front.py --out $(OUT)/scipy_front_benchmark.md
	$(PY) benchmarks/torchdiffeq_front.py --out $(OUT)/torchdiffeq_front_benchmark.md
	$(PY) benchmarks/doses.py --out $(OUT)/doses_benchmark.md
	$(PY) benchmarks/ignition.py --out $(OUT)/ignition_benchmark.md
	$(PY) benchmarks/honesty.py --out $(OUT)/honesty_benchmark.md
	$(PY) benchmarks/overhead.py
	$(PY) benchmarks/guidance.py --out $(OUT)/guidance_benchmark.md
	$(PY) benchmarks/image_model.py --out $(OUT)/image_model.md
	$(PY) benchmarks/diffusers_schedulers.py
	$(PY) benchmarks/adaptive_sampling.py

# Ctrl-C ends it with the table, too; what failed is kept in out/fuzz, and asked first the next time.
fuzz: $(VENV)/test.stamp  ## random questions to everything: a minute, or ARGS="--seconds 3600 --jobs 2"
	OMP_NUM_THREADS=1 PYTHONPATH=tests $(PY) -m campaign $(ARGS)

# What pages show is run, so that it takes the environment of the tests, where all of it is.
docs: $(VENV)/test.stamp  ## the manual, with what its code prints and draws, in docs/_build/html
	OMP_NUM_THREADS=1 $(PY) -m sphinx -W --keep-going docs docs/_build/html

.PHONY: gallery
gallery: $(VENV)/test.stamp  ## what the manual shows of the scripts that take too long for it
	OMP_NUM_THREADS=1 $(PY) tools/gallery.py

.PHONY: architecture
architecture:  ## the picture of the floors, from the imports; needs Graphviz
	$(PYTHON) tools/architecture.py

clean:  ## remove the environment and everything generated
	rm -rf $(VENV) $(OUT) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
