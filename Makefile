# Everything runs from a virtual environment in .venv, which `make setup` keeps up to date.

PYTHON ?= python3
PYTEST_ARGS ?=
BENCH_ARGS ?=
# Many tests wait for servers and for time to pass, so more processes than there are cores.
TEST_PROCESSES ?= 3
# Which Pythons test-pythons uses; none means every one that it finds.
PYTHONS ?=

.PHONY: help setup demo demo-server test test-pythons test-containers docs format bench clean
.PHONY: lint lint-style lint-types lint-docs lint-layers

help:
	@echo 'make setup   create or update .venv, with all that tests and checks need'
	@echo 'make demo    prefetch 600 photographs from a local S3 server through a Celery worker'
	@echo 'make demo-server  serve the photographs of the documentation from a local S3 server, until Ctrl-C'
	@echo 'make test    run every test (some of them: make test PYTEST_ARGS="tests/unit -x")'
	@echo 'make test-pythons  run what needs neither FiftyOne nor a browser on every Python here, from 3.10 on'
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
	@.venv/bin/python examples/photo_server.py

test: setup
	@scripts/system-packages nginx-light ffmpeg chromium
	@.venv/bin/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

# Needs no .venv: each Python has an environment of its own, without FiftyOne and torch.
test-pythons:
	@TEST_PROCESSES=$(TEST_PROCESSES) scripts/test-pythons $(PYTHONS)

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
