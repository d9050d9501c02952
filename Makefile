# Everything runs from a virtual environment in .venv, which `make setup` keeps up to date.

PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=
# --sentinels gives the storm's Redis a replica, to which it fails over.
CHAOS_ARGS ?=
# --azure adds an Azure Blob Storage server.
DEMO_ARGS ?=
# More of them end sooner, as many tests wait; but some drive a browser, or a worker that is killed again and again.
TEST_PROCESSES ?= 4
# What a Slurm of one node needs.
SLURM = slurmctld slurmd slurm-client munge
# Which Pythons test-pythons uses; none means every one that it finds.
PYTHONS ?=
# Which versions of FiftyOne test-fiftyones uses; none means both ends of the range that the adapter is for.
FIFTYONES ?=
# How long a storm lasts, and by which seed its faults come.
MINUTES ?= 60
SEED ?= 1

.PHONY: help setup demo demo-server test chaos test-slurm test-pythons test-fiftyones test-containers docs format bench
.PHONY: clean
.PHONY: lint lint-style lint-types lint-docs lint-layers

help:
	@echo 'make setup   create or update .venv, with all that tests and checks need'
	@echo 'make demo    prefetch 600 photographs from a local S3 server through a Celery worker'
	@echo 'make demo-server  serve the photographs of the documentation from a local S3 server, until Ctrl-C'
	@echo 'make test    run every test (some of them: make test PYTEST_ARGS="tests/unit -x")'
	@echo 'make chaos   an hour of faults in everything that a fleet stands on (make chaos MINUTES=10 SEED=7; root also fills disks)'
	@echo 'make test-slurm  try the scripts for Slurm in a real one, of one node (as root; a minute)'
	@echo 'make test-pythons  run what needs neither FiftyOne nor a browser on every Python here, from 3.10 on'
	@echo 'make test-fiftyones  try the adapter on the oldest and the newest FiftyOne it is for (20 minutes at first)'
	@echo 'make test-containers  build the images, start compose.yaml on an engine, and try it (5 to 10 minutes)'
	@echo 'make lint    check style, formatting, types and layers, and build the documentation'
	@echo 'make docs    show the documentation as a site on this machine'
	@echo 'make format  put the style right where that can be done automatically'
	@echo 'make bench   measure every budget, beside other tools (two minutes: make bench BENCH_ARGS=--quick)'
	@echo 'make clean   remove .venv and everything that was built'

setup: .venv/.develop

# The demo needs a small part of what the tests need, so it does not wait for FiftyOne and torch.
.venv/.demo .venv/.develop: .venv/.%: \
		pyproject.toml constraints.txt requirements-photos.txt scripts/setup scripts/system-packages
	@scripts/setup $* $(PYTHON)

demo: .venv/.demo
	@.venv/bin/python examples/demo.py

demo-server: .venv/.demo
	@case "$(DEMO_ARGS)" in *--azure*) scripts/azurite >&2 ;; esac
	@.venv/bin/python examples/photo_server.py $(DEMO_ARGS)

test: setup
	@scripts/system-packages nginx-light ffmpeg chromium kubernetes-client $(SLURM)
	@scripts/azurite
	@.venv/bin/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

chaos: setup
	@.venv/bin/python -m tests.chaos.storm --seeds $(SEED) --minutes $(MINUTES) $(CHAOS_ARGS)

test-slurm: setup
	@scripts/system-packages $(SLURM)
	@FOREBAY_TEST_SLURM=1 .venv/bin/python -m pytest tests/integration/test_slurm_cluster.py $(PYTEST_ARGS)

# Needs no .venv: each Python has an environment of its own, without FiftyOne and torch.
test-pythons:
	@scripts/azurite
	@TEST_PROCESSES=$(TEST_PROCESSES) scripts/test-pythons $(PYTHONS)

# Needs no .venv: each FiftyOne has an environment of its own.
test-fiftyones:
	@scripts/system-packages ffmpeg
	@scripts/azurite
	@PYTHON=$(PYTHON) scripts/test-fiftyones $(FIFTYONES)

test-containers: setup
	@scripts/system-packages docker.io debootstrap iptables
	@FOREBAY_TEST_CONTAINERS=1 .venv/bin/python -m pytest tests/containers $(PYTEST_ARGS)

# The hooks of .pre-commit-config.yaml are these.
lint: lint-style lint-types lint-docs lint-layers

lint-style: setup
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check

lint-types: setup
	@.venv/bin/mypy

lint-docs: setup
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

lint-layers: setup
	@.venv/bin/python -m pytest tests/unit/test_layering.py -q

docs: setup
	@NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs serve

format: setup
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

bench: setup
	@scripts/system-packages nginx-light libnginx-mod-http-lua
	@.venv/bin/python -m bench $(BENCH_ARGS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
