# fairhop: `make lab` shows it at work, `make test` proves it. Both install what they need (Debian 12, root).
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
export PYTHONDONTWRITEBYTECODE := # tests are collected five times in `make test`; with their bytecode kept it takes half as long
STAMP := $(VENV)/.installed
BPF_DIR := edge/datapath/bpf
TIERS := process or kernel or lab or containerlab or browser

.PHONY: help venv bpf lab lab-containerlab images render lint unit test test-containerlab bench announcer-times scenarios report-picture hunt lock clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): requirements/dev.txt requirements/apt.txt pyproject.toml
	requirements/install-apt lab
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

venv: $(STAMP) ## the virtual environment, from the hash-locked list

# Nodes of a lab read this tree and keep nothing: without compiled modules each would compile them anew.
bpf: $(STAMP) ## compile the XDP programs, the native library, and the modules for the nodes of labs
	$(BIN)/python -m edge.datapath.bpf.build
	$(BIN)/python -m compileall -q bgp edge lab

lab: bpf ## the main job: bring the two-site lab up, drain, kill, and print the verdict
	$(BIN)/fairhop lab demo --topology containerlab/two-site.clab.yml

images: bpf ## the images of the containerlab tier
	requirements/install-apt containerlab
	FAIRHOP_PYTHON=$(BIN)/python containerlab/images/build

lab-containerlab: images ## the same main job on real containerlab (Docker running, Go)
	containerlab/tools/build
	$(BIN)/fairhop lab demo --topology containerlab/two-site.clab.yml --runtime containerlab

render: $(STAMP) ## write the configurations of every lab in containerlab/ again
	set -e; for file in containerlab/*.clab.yml; do $(BIN)/fairhop lab render --topology $$file; done

lint: $(STAMP) ## ruff and mypy; warnings are errors
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: bpf ## the tests that start no program and need no privilege: about 20 s on two cores
	$(PYTEST) -q -n 2 -m "not slow and not process and not kernel and not lab and not containerlab and not browser"

test: bpf lint ## everything; the containerlab tier is skipped by name without Docker or Go
	requirements/install-apt lab test
	$(PYTEST) -n 2 --dist loadfile -m "not ($(TIERS))"
	$(PYTEST) -n 2 --dist loadgroup -m "($(TIERS)) and not calm"
	$(PYTEST) -m calm

test-containerlab: bpf ## the containerlab tier alone, core scenarios among it; starts Docker if none runs (Go)
	requirements/install-apt lab test containerlab
	FAIRHOP_REQUIRE=containerlab $(PYTEST) -m containerlab

bench: bpf ## what a packet, a table and a generation cost here -> build/bench.json
	$(BIN)/python -m lab.bench --json build/bench.json --plot build/bench.png

announcer-times: bpf ## from events at an edge to routes in FRR's and BIRD's kernels -> build/announce.json
	$(BIN)/python -m lab.announce --json build/announce.json --plot build/announce.png

scenarios: bpf ## every scenario of the library on namespaces, with verdicts -> build/scenarios.html (about 45 minutes)
	$(BIN)/fairhop lab test --json build/scenarios.json --junit-xml build/scenarios.xml --html build/scenarios.html

report-picture: $(STAMP) ## a picture of a report -> build/report.png: make report-picture RESULT=result.json
	$(BIN)/python -m tests.lab.report --picture build/report.png $(RESULT)

hunt: bpf ## fuzz the programs against their oracles with fresh seeds: make hunt SECONDS=600
	$(BIN)/python -m tests.datapath.hunt --seconds $(or $(SECONDS),60)

lock: $(STAMP) ## pin the dependencies of pyproject.toml again, with hashes
	$(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile -q --python-version 3.11 --generate-hashes --extra dev --extra bench pyproject.toml -o requirements/dev.txt

clean: ## remove what was built
	rm -rf build dist $(VENV) $(BPF_DIR)/*.o lab/observe/flowtap/*.o lab/bench/*.o edge/native/*.so lab/faults/clock/*.so
