# Each target sets up .venv from requirements.txt the first time, with the newest Python that works.
PYTHON ?= $(firstword $(foreach version,3.13 3.12 3.11,\
  $(shell python$(version) -c 'import ensurepip, venv; print("python$(version)")' 2>/dev/null)))
BIN := .venv/bin
QUICK := not slow and not soak and not milvus and not real_data

.PHONY: bench check clean demo docs lint notebook page soak test

# Large buffers are kept and used again, not returned to the system after every step.
demo: export MALLOC_MMAP_THRESHOLD_ = 1073741824
demo: export MALLOC_TRIM_THRESHOLD_ = 4294967296
demo: .venv/ready
	$(BIN)/python -m data synthesize volleyball --out demo/raw
	$(BIN)/python -m data prepare volleyball --raw demo/raw --out demo/datasets
	$(BIN)/python train.py --config=configs/demo.py --workdir=demo/run
	$(BIN)/python evaluate.py --workdir=demo/run
	$(BIN)/python search.py index --run demo/run --split train+validation+test --out demo/index
	$(BIN)/python search.py query --index demo/index --clip 15/3719 --k 5 --grid demo/hits.png
	@echo "Now open demo/run/evaluation-test.html, and demo/hits.png"

# The page, on an index of three rendered matches; what is done is labelled in the first alone.
page: demo/page.ready
	$(BIN)/python search.py serve --index demo/page_index

demo/page.ready: | .venv/ready
	$(BIN)/python -m data synthesize footage --out demo/footage --minutes 1
	grep -E '^(video,|match-1[.])' demo/footage/labels.csv > demo/labels.csv
	$(BIN)/python search.py index --run notebooks/demo_run.zip --video 'demo/footage/*.mp4' \
	  --tracks 'demo/footage/{match}.txt' --labels demo/labels.csv --out demo/page_index
	touch $@

# Packs what the demo trained for the notebook, and keeps in the notebook what it then shows.
notebook: .venv/ready
	$(BIN)/python -m stvh_jax share demo/run notebooks/demo_run.zip
	$(BIN)/python -c 'import nbclient, nbformat; path = "notebooks/colab.ipynb"; notebook = nbformat.read(path, 4); nbclient.execute(notebook, cwd="notebooks", record_timing=False, coalesce_streams=True); nbformat.write(notebook, path)'

# The quick tests: under two minutes together. `make test` runs all of them.
check: .venv/ready
	$(BIN)/python -m pytest -n 2 -m '$(QUICK)'

test: .venv/ready
	$(BIN)/python -m pytest -n 2

# Breaks files, flags and processes at random for MINUTES (20); SEED, KILLS (of each kind at least)
# and ONLY (words of the names of targets, a|b) may be given. CASE=FOLDER runs a failure again.
# Tests that are too long for `make test` run first.
soak: .venv/ready
	$(if $(ONLY)$(CASE),,$(BIN)/python -m pytest -n 2 -m soak)
	$(BIN)/python -m tests.robustness $(foreach name,MINUTES SEED KILLS ONLY CASE,\
	  $(if $($(name)),--$(shell echo $(name) | tr A-Z a-z)='$($(name))'))

# What is measured beside PyTorch, in its short form, and compared with the ratios stored.
bench: .venv/ready
	$(BIN)/python -m benchmarks.short

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright --pythonpath $(BIN)/python

# The site, then its links to files and headings; a warning is an error.
docs: .venv/ready
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -d docs/_build/doctrees docs docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b linkcheck -d docs/_build/doctrees docs docs/_build/links

.venv/ready: requirements.txt
	$(or $(PYTHON),false) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "error: Python 3.11, 3.12 or 3.13 is needed, for example: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

clean:
	rm -rf .venv demo soak docs/_build docs/api/modules
