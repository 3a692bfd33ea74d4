# make demo: environment, sample videos, prediction, and where to look. make test: the tests.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := demo_data

.PHONY: help setup demo test lint clean

help:
	@echo "make setup   a virtual environment in $(VENV) with everything installed"
	@echo "make demo    sample videos, a prediction on them, and where to look"
	@echo "make test    run the tests"
	@echo "make lint    check style and format"
	@echo "make clean   remove the environment and the demo's files"

setup: $(INSTALLED)

$(INSTALLED): requirements.txt requirements-nodeps.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Python 3.11, 3.12 or 3.13 is needed, this is %d.%d: make PYTHON=python3.12 setup" % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-nodeps.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

demo: setup
	$(BIN)/python -m demo.sample_videos $(DEMO)/videos
	$(BIN)/python -m demo.fresh_network $(DEMO)/weights/fresh_network
	$(BIN)/python predict_folder.py --test-dir $(DEMO)/videos --weights-dir $(DEMO)/weights --models fresh_network \
		--output $(DEMO)/submission.csv --details $(DEMO)/details.jsonl --overwrite
	@echo
	@echo "The videos:            $(DEMO)/videos (metadata.json in each folder says which are fake)"
	@echo "A probability each:    $(DEMO)/submission.csv"
	@echo "Why, face by face:     $(DEMO)/details.jsonl"
	@echo "The demo's network has random weights: its scores are near 0.5 and mean nothing."
	@echo "For scores that mean something: ./download_weights.sh, then ./predict_submission.sh VIDEO_FOLDER OUTPUT.csv"

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) $(DEMO)
