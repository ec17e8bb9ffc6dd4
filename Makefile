# `make run` and `make test` need Python 3.11 to 3.13, pip and make; everything else they install into .venv.
PYTHON ?= python3
# of the drawn data; `make clean` first to draw anew
FACES ?= 3600
SEED ?= 0
# of `crossface run`, such as: make run ARGS="--set train.seed=1"
ARGS ?=
# docker or podman, whichever is there
ENGINE ?= $(shell command -v docker || command -v podman)
# another base image, PyTorch's index for CPUs: make images BUILD_ARGS="--build-arg PYTHON_IMAGE=python:3.11-slim-bookworm"
BUILD_ARGS ?=
COMMIT := $(shell git describe --always --dirty --abbrev=40 --match= 2>/dev/null)
BUILD = DOCKER_BUILDKIT=1 $(ENGINE) build --build-arg COMMIT=$(COMMIT) $(BUILD_ARGS)
BUILD_STEPS = $(BUILD) --file images/Dockerfile
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: run test engine images push e2e clean
.DELETE_ON_ERROR:

run: .venv/.run data/sample  ## the whole pipeline on drawn sample data
	$(BIN)/crossface run --params sample $(ARGS)

test: .venv/.test  ## lint, types and tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/hadolint images/Dockerfile images/mlflow/Dockerfile
	$(BIN)/pytest --numprocesses 2 --dist loadfile

data/sample: | .venv/.run
	$(BIN)/crossface sample-data $@ --faces $(FACES) --seed $(SEED)

.venv/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11 to 3.13 is needed, $(PYTHON) is $$($(PYTHON) -V); name another: make PYTHON=python3.12"; exit 1; }
	@echo "Installing into .venv (PyTorch is large: this takes some minutes, once)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt --editable '.[torch,pipelines]'
	@touch $@

.venv/.test: .venv/.run
	$(PIP) install --constraint constraints.txt --editable '.[torch,pipelines,dev]'
	@touch $@

engine:
	@test -n "$(ENGINE)" || { echo "docker or podman is needed"; exit 1; }

e2e: .venv/.test  ## the tests that need containers, after `make images`
	CROSSFACE_E2E=1 $(BIN)/pytest tests/e2e

images: engine  ## what `crossface run --runner docker` runs the steps in
	$(BUILD_STEPS) --build-arg PACKAGES=data --tag crossface-data:dev .
	$(BUILD_STEPS) --build-arg PACKAGES=torch --tag crossface-torch:dev .
	$(BUILD) --file images/mlflow/Dockerfile --tag crossface-mlflow:dev .

push: images  ## to REGISTRY, such as registry.example/team; writes their digests into images/images.lock.yaml
	@test -n "$(REGISTRY)" || { echo "make push REGISTRY=registry.example/team"; exit 1; }
	@ENGINE=$(ENGINE) images/push.sh "$(REGISTRY)" "$(COMMIT)"

clean:  ## forget runs, their cache and the sample data
	rm -rf runs data/sample
