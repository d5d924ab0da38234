# The front door: `make help` lists what there is. Nothing here needs to be installed beforehand but
# make, Python 3.11 and, for the local cluster, Debian 12 and root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# local: a cluster of this project's own on this machine; current: your kubectl context.
export CLUSTER ?= local
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
export PYTHONPATH := operator:trainer:.
CRD := crds/detectiontrainings.yaml
CHART_CRD := charts/detection-operator/files/detectiontrainings.yaml

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

$(VENV)/installed: requirements/uv.lock requirements/dev.lock
	$(PYTHON) -m venv --clear $(VENV) || { apt-get update -q && apt-get install -qy python3-venv && $(PYTHON) -m venv --clear $(VENV); }
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.lock
	$(BIN)/uv pip sync -q --require-hashes requirements/dev.lock
	touch $@

.PHONY: venv
venv: $(VENV)/installed ## install the development environment into .venv

.PHONY: demo
demo: venv ## the whole story on real photographs and a real cluster (sets one up on this machine)
	$(BIN)/python -m demo run

.PHONY: demo-clean
demo-clean: venv ## remove all that the demo made
	$(BIN)/python -m demo clean

.PHONY: test
test: lint lint-workflows type verify test-fast test-e2e test-odapi-core ## everything that CI checks

.PHONY: test-unit
test-unit: venv ## pure tests: no network, no cluster; a file of them on each core
	$(BIN)/python -m pytest tests/unit --numprocesses 2 --dist loadfile

.PHONY: test-fast
test-fast: venv ## unit and integration tests (real API server), with their coverage; those without a cluster on two cores
	$(BIN)/python -m pytest tests/unit tests/integration/trainer --numprocesses 2 --dist loadfile --cov --cov-report=
	$(BIN)/python -m pytest tests/integration --ignore tests/integration/trainer --cov --cov-append --cov-report=term --cov-fail-under=90

.PHONY: test-e2e
test-e2e: venv ## promises kept on a real kubelet with real TensorFlow pods
	$(BIN)/python -m pytest tests/e2e

.PHONY: test-odapi-core
test-odapi-core: venv ## of test-odapi: ResNet50 and MobileNetV2, 25 steps of the latter, and the mAP
	$(BIN)/python -m pytest tests/odapi -m core

.PHONY: test-odapi
test-odapi: venv ## beside the TensorFlow Object Detection API itself (an environment of its own), and from it into a cluster
	$(BIN)/python -m pytest tests/odapi

.PHONY: chaos-trainer
chaos-trainer: venv ## kill a training at random moments, on a disk, on S3 and of two workers, and compare its end (CHAOS=--warm: quicker)
	$(BIN)/python -m chaos.trainer --storage disk $(CHAOS)
	$(BIN)/python -m chaos.trainer --storage s3 $(CHAOS)
	$(BIN)/python -m chaos.trainer --signal TERM --kills 20 $(CHAOS)
	$(BIN)/python -m chaos.trainer --workers 2 --kills 15 $(CHAOS)

.PHONY: lint
lint: venv ## style, imports between layers, duplicate names
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

.PHONY: lint-workflows
lint-workflows: venv ## check .github/workflows with actionlint (a Go program, built once a machine)
	$(BIN)/python -m supply_chain lint-workflows

.PHONY: type
type: venv ## mypy --strict
	$(BIN)/mypy

.PHONY: format
format: venv ## let ruff format and mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: generate
generate: venv ## write what is generated: the CRD, its copy in the chart, the reference
	$(BIN)/python -m detection_operator.api.crd $(CRD) $(CHART_CRD)
	$(BIN)/python -m detection_operator.api.reference docs/reference

.PHONY: verify
verify: generate ## fail where a generated file is not what the code says
	@git diff --exit-code -- $(CRD) $(CHART_CRD) docs/reference || { echo "generated files differ: commit what 'make generate' wrote"; exit 1; }

.PHONY: lock
lock: venv ## resolve the locks again from pyproject.toml
	compile() { $(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml "$$@"; }; \
	compile --extra operator -o requirements/operator.lock; \
	compile --extra trainer --extra cpu -o requirements/trainer-cpu.lock; \
	compile --extra trainer --extra cuda -o requirements/trainer-cuda.lock; \
	compile --extra trainer --extra keras-hub -c requirements/trainer-cuda.lock -o requirements/bench-keras-hub.lock; \
	compile --extra operator --extra trainer --extra cpu --extra dev -o requirements/dev.lock
	$(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/sbom.in -o requirements/sbom.lock
	$(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements/odapi.in -o requirements/odapi.lock
	$(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-deps requirements/pretrained.in -o requirements/pretrained.lock

.PHONY: sbom
sbom: venv ## SBOM and licences of the Python packages in both images, into build/sbom (ACCELERATOR="cpu cuda": 6 GB more)
	$(BIN)/python -m supply_chain sbom --accelerator $(or $(ACCELERATOR),cpu)

.PHONY: audit
audit: venv ## look up known vulnerabilities of the locked packages (needs the vulnerability data of PyPI)
	$(BIN)/python -m supply_chain audit --accelerator $(or $(ACCELERATOR),cpu)

.PHONY: bench-operator
bench-operator: venv ## the operator at 10,000 trainings, into docs/benchmarks.md (BENCH=--trainings=500 for less)
	$(BIN)/python -m benchmarks.operator $(or $(BENCH),--record)

.PHONY: bench-hostile
bench-hostile: venv ## a training alone and beside a hostile tenant's attacks, into docs/benchmarks.md (BENCH=--pairs=5 for more)
	$(BIN)/python -m benchmarks.hostile --record $(BENCH)

.PHONY: chaos-operator
chaos-operator: venv ## a storm of faults over 200 trainings, judged by the audit log (CHAOS="--seed 7" to repeat one)
	$(BIN)/python -m chaos.operator $(CHAOS)

.PHONY: chaos-objects
chaos-objects: venv ## 1,000 random objects applied and edited while 20 trainings run (`make test` has 150)
	HOSTILE_OBJECTS=$(or $(OBJECTS),1000) $(BIN)/python -m pytest -o log_cli=true -o log_cli_level=INFO tests/integration/detection_operator/test_hostile_objects.py

.PHONY: cluster-up
cluster-up: ## start the local cluster and load this checkout's images
	$(PYTHON) -m local_cluster up
	$(PYTHON) -m local_cluster build-images

.PHONY: cluster-down
cluster-down: ## stop the local cluster; nothing stays but the cache
	$(PYTHON) -m local_cluster down

.PHONY: cluster-status
cluster-status: ## what runs in the local cluster
	$(PYTHON) -m local_cluster status

.PHONY: cluster-prepare
cluster-prepare: ## install packages and build programs for the local cluster, start nothing
	$(PYTHON) -m local_cluster prepare

.PHONY: bench-trainer
bench-trainer: venv ## the trainer's speed beside Keras and KerasHub; writes docs/benchmarks.md (BENCH="--only storage" for a part)
	$(BIN)/python -m benchmarks.trainer $(BENCH)

.PHONY: images
images: ## build both images into the local cluster's registry
	$(PYTHON) -m local_cluster build-images

.PHONY: cluster-prune
cluster-prune: ## free the disk of old images and of clusters that are down
	$(PYTHON) -m local_cluster prune
