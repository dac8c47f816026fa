# Two commands from a fresh clone: `make demo` and `make test`. Both set up the locked environment first.

PYTHON ?= python3
AREA ?= demo
DATA_DIR ?=
IMAGES ?=
OSM ?=
BIN := .venv/bin
READY := .venv/.ready
SOURCES := $(wildcard lib/*.py lib/*/*.py notebooks/*.py)

.PHONY: help demo test test-browser setup lab new check report compare results findings lint sync lock clean
.SECONDEXPANSION:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: reports/demo/index.html  ## the notebooks on the embedded sample, rendered into reports/demo
	@cat reports/demo/scoreboard.txt

report: reports/$(AREA)/index.html  ## the same for params/AREA (DATA_DIR=path where the data lies elsewhere)
	@cat reports/$(AREA)/scoreboard.txt

map: $(READY)  ## whole images with an area's network: make map AREA=demo IMAGES='scenes/*.tif' (OSM=file, or overpass)
	@test -n "$(IMAGES)" || { echo "say which: make map AREA=demo IMAGES='scenes/*.tif'"; exit 1; }
	$(BIN)/python -m lib.show.reports $(AREA) --map "$(IMAGES)" --osm "$(OSM)"

reports/%/index.html: $(READY) $(SOURCES) $$(wildcard params/$$*/*.yaml)
	$(BIN)/python -m lib.show.reports $* $(if $(DATA_DIR),--data-dir "$(DATA_DIR)")

test: $(READY)  ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-browser: $(READY)  ## only the tests that open pages in a browser
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
	{ echo "Chromium or Google Chrome is needed, from your system's packages: apt install chromium"; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser tests/show

compare: $(READY)  ## two reports side by side: make compare A=demo B=my-town (areas, or folders of reports)
	@test -n "$(A)" -a -n "$(B)" || { echo 'say which: make compare A=demo B=my-town'; exit 1; }
	$(BIN)/python -m lib.show.compare "$(A)" "$(B)"

new: $(READY)  ## params of an area of your own: make new AREA=my-town IMAGES='photos/*.tif' OSM=roads.gpkg CLEAN=labels.geojson
	@$(BIN)/python -m lib.areas new "$$AREA" --images "$$IMAGES" --osm "$$OSM" --clean "$$CLEAN" --task "$$TASK"

check: $(READY)  ## what the notebooks would find and make of AREA: scenes, labels, chips, time, disk, warnings
	@$(BIN)/python -m lib.areas check "$(AREA)" --data-dir "$(DATA_DIR)"

setup: $(READY)  ## only the environment, in .venv

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
		f"Python 3.11 to 3.13 is needed, {v.major}.{v.minor} came: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	@echo "installing the locked environment into .venv (PyTorch with CUDA: about 3 GB once)"
	@UV=$$(command -v uv || echo $(BIN)/uv); \
	$$UV pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock && \
	$$UV pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@$(BIN)/python -m lib.ahead graphs & $(BIN)/python -m lib.ahead scores && wait $$!
	@touch $@

lab: $(READY)  ## JupyterLab on working copies of the notebooks, of an area: make lab AREA=my-town; or a start page
	$(BIN)/python -m lib.show.lab $(if $(filter file,$(origin AREA)),,"$(AREA)")

results: $(READY)  ## two stages against one, over seeds and clean chips: results/clean_chips.csv
	$(BIN)/python -m benchmarks.experiments clean-chips

findings:  ## what libraries of this field do against expectation: runs each script of findings/, installing its packages
	@for script in findings/*.sh; do echo "== $$script"; bash "$$script" || exit 1; done

lint: $(READY)  ## style of the code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

sync: $(READY)  ## regenerate the .ipynb pairs from the .py sources, one way and without outputs
	$(BIN)/jupytext --quiet --to ipynb --update notebooks/*.py
	@# --update keeps each cell's id, and its outputs even where the code is another one
	$(BIN)/jupyter nbconvert --log-level WARN --clear-output --inplace notebooks/*.ipynb

lock: $(READY)  ## resolve requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

clean:  ## everything generated but the environment
	rm -rf data/*/chips runs reports/*/
