# Each target does its own set-up, once: a virtual environment in .venv from requirements.txt.
PYTHON ?= python3.11
BIN := .venv/bin

.PHONY: demo notebook test lint clean

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

# Packs what the demo trained for the notebook, and keeps in the notebook what it then shows.
notebook: .venv/ready
	$(BIN)/python -m stvh_jax share demo/run notebooks/demo_run.zip
	$(BIN)/python -c 'import nbclient, nbformat; path = "notebooks/colab.ipynb"; notebook = nbformat.read(path, 4); nbclient.execute(notebook, cwd="notebooks", record_timing=False, coalesce_streams=True); nbformat.write(notebook, path)'

test: .venv/ready
	$(BIN)/python -m pytest -n 2

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "error: Python 3.11 is needed, for example: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

clean:
	rm -rf .venv demo
