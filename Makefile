# ROS 2 and this package in .venv, for machines without ROS 2. On a robot use colcon: see README.md.

# an environment that is there keeps its Python
PYTHON ?= $(or $(realpath .venv/bin/python),python3)

export AMENT_PREFIX_PATH := $(CURDIR)/.venv
export ROS_AUTOMATIC_DISCOVERY_RANGE := LOCALHOST
export ROS_LOG_DIR := $(CURDIR)/.venv/log
export PYTHONUNBUFFERED := 1
# what a sourced ROS 2 or another environment would bring in
unexport PYTHONPATH LD_LIBRARY_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE

.PHONY: help env demo test test-export fuzz soak bench bench-check clean

help:
	@echo 'make demo   play the sample bag through the node; results go to demo_output/'
	@echo 'make test   run every test'
	@echo 'make test-export  test the export of checkpoints; downloads torch and ultralytics'
	@echo 'make fuzz   look for inputs that break a reader; SECONDS=60 for each of them'
	@echo 'make soak   run the node with faults for MINUTES=3'
	@echo 'make bench  measure the host side; prints the tables of docs/performance.md'
	@echo 'make env    only build the environment, .venv; PYTHON=python3.12 picks the interpreter'
	@echo 'make clean  remove .venv and everything that was built or written'

env:
	@$(PYTHON) environment/build.py

demo: env
	.venv/bin/python demo/run_demo.py

test: env
	.venv/bin/pytest -ra

# an environment of its own: .venv has no torch, and the package must do without
.venv_export/installed: environment/requirements_export.txt
	$(PYTHON) -m venv --clear .venv_export
	.venv_export/bin/pip --quiet --disable-pip-version-check install --no-deps -r $<
	touch $@

test-export: .venv_export/installed
	.venv_export/bin/python -m pytest -ra test_export

.venv_fuzz/installed: environment/requirements_fuzz.txt
	$(PYTHON) -m venv --clear .venv_fuzz
	.venv_fuzz/bin/pip --quiet --disable-pip-version-check install -r $<
	touch $@

SECONDS ?= 20
fuzz: .venv_fuzz/installed
	.venv_fuzz/bin/python test_fuzz/fuzz.py --seconds $(SECONDS)

MINUTES ?= 3
soak: env
	.venv/bin/python test_soak/soak.py --minutes $(MINUTES)

bench: env
	.venv/bin/python benchmark/run.py

bench-check: env
	.venv/bin/python benchmark/run.py --check

clean:
	rm -rf .venv .venv_export .venv_fuzz test_fuzz/found demo_output build install log
	rm -rf *.egg-info .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
