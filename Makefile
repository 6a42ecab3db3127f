# make demo   the whole job on a real small cluster on this machine
# make quick  lint, unit, and one pass over the sandbox without training
# make test   every check and every test, the sandbox's included
# make lint   ruff, mypy, vermin, ansible-lint     make unit   the short tests, without a cluster
# make torture  controllers killed at every point and moment, outages: long, with counts
# make slurms   the tests that depend on Slurm, on each version of it: SLURMS="22.05 24.11 26.05"
# make gpu    the whole job on this machine's GPUs, with its faults, measured (docs/gpu.md)
# make gpu-pack   what a machine with GPUs and no network needs for that: GPU_PACK="--python 3.12"
# make docs   the documentation as a site, in build/docs; it builds and is read without a network
# make dist   what is published, in dist: wheel, sdist, collection, bill of materials, checksums
# make clean  remove what these left here (the sandbox goes with: mnrun sandbox down --wipe)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Python keeps what it compiled, whatever the caller says: each of a hundred processes compiles it
# anew otherwise. (Empty means that it is not set.)
export PYTHONDONTWRITEBYTECODE :=
.PHONY: demo test torture slurms lint unit clean help

# A folder of packages and wheels to install from, where there is no network (make gpu-pack).
OFFLINE :=
ifneq ($(OFFLINE),)
export PIP_NO_INDEX := 1
export PIP_FIND_LINKS := $(abspath $(OFFLINE))/wheels
endif

PYTHON ?= python3
BIN := .venv/bin
# The sandbox is root's: it makes namespaces, mounts and devices.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=MNRUN_SANDBOX_SLURM,PYTEST_ADDOPTS)
APT := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0

help:
	@sed -n '/^#/!q; s/^# //p' Makefile

demo: .venv/installed
	@$(SUDO) $(BIN)/mnrun sandbox up
	@$(SUDO) $(BIN)/mnrun all -i inventory/sandbox

# A worker for each core; each takes one file after the other, in the order of collection.
SIDE_BY_SIDE := -n auto --dist loadfile --no-loadscope-reorder

# One pytest for all tests, so that its last line counts them all. The sandbox comes up before it
# and goes down after it, also when a test fails or somebody presses Ctrl-C.
define ON_SANDBOX
echo "== sandbox"; \
down() { $(SUDO) $(BIN)/mnrun sandbox down > .venv/down.log || cat .venv/down.log; }; \
trap down EXIT; \
$(SUDO) $(BIN)/mnrun sandbox up --simulated; \
echo "== tests"; \
$(SUDO) $(BIN)/pytest
endef

# A browser looks at the page of `mnrun report`; without one, that test is skipped with its reason.
.PHONY: browser
browser:
	@command -v chromium > /dev/null || ! grep -qs '^ID=debian' /etc/os-release || [ -n '$(OFFLINE)' ] || \
	  { echo "== Debian package: chromium"; $(APT) update; $(APT) install -y --no-install-recommends chromium; } || \
	  echo "chromium cannot be installed here: the tests with it are skipped" >&2

# Two workers, each with a sandbox of its own. The long files of the sandbox come first, so that
# the many short ones fill the gaps at the end.
test: lint browser
	@$(ON_SANDBOX) $(SIDE_BY_SIDE:auto=2) --maxfail=10 -m "not torture and not trainers" tests/sandbox tests/packaging tests/plays tests/unit

.PHONY: quick sandbox-pass
# The pass waits for Slurm most of the time, and the others need the processors.
quick: .venv/installed-dev
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target sandbox-pass lint unit

sandbox-pass: .venv/installed-dev
	@$(ON_SANDBOX) -m quick tests/sandbox

torture: .venv/installed-dev
	@$(ON_SANDBOX) -m torture -rP tests/sandbox

.PHONY: trainers
trainers: .venv/installed-dev
	@$(ON_SANDBOX) -m trainers tests/sandbox

# SLURM_TESTS=slurm_core is the part that CI runs on the versions that are not the default.
SLURMS := 22.05 24.11 26.05
SLURM_TESTS := slurm
slurms: .venv/installed-dev
	@for version in $(SLURMS); do ( \
	  echo "== Slurm $$version"; export MNRUN_SANDBOX_SLURM=$$version; \
	  $(ON_SANDBOX) $(SIDE_BY_SIDE:auto=2) -m "$(SLURM_TESTS) and not torture" tests/sandbox ); done

WITH_VLLM := -e '{"sandbox_trainers": ["verl-0.5", "verl-0.9-vllm"]}'
.PHONY: gpu gpu-pack
gpu: .venv/installed
	@$(SUDO) $(BIN)/mnrun sandbox up $(if $(OFFLINE),--offline $(OFFLINE)) \
	    $(if $(filter vllm,$(STEPS)),$(WITH_VLLM))
	@$(SUDO) $(BIN)/python -m bench.gpu $(if $(STEPS),--steps $(STEPS))

gpu-pack: .venv/installed
	@$(BIN)/python -m bench.gpu.pack $(GPU_PACK)

lint: .venv/installed-dev
	@echo "== ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "== mypy"
	@$(BIN)/mypy
	@echo "== vermin: modules run on Python 3.8"
	@$(BIN)/vermin --target=3.8- --violations --no-tips plugins/modules plugins/module_utils roles/ray_cluster/files roles/sft/files
	@echo "== ansible-lint"
	@PATH="$(CURDIR)/$(BIN):$$PATH" ANSIBLE_INVENTORY_UNPARSED_FAILED=false $(BIN)/ansible-lint --strict

unit: .venv/installed-dev
	@$(BIN)/pytest -n auto --dist worksteal tests/unit

# The same bytes for the same commit, wherever and whenever it is built.
.PHONY: dist
dist: .venv/installed-dev
	@$(BIN)/python -m release

# MkDocs reads what is in docs/, and Material says on each start that its own days are numbered.
.PHONY: docs
docs: .venv/installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf .venv .ansible .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info *.tar.gz
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# A virtual environment; Debian's and Ubuntu's packages for it only where they are missing.
.venv/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mnrun needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.11" >&2; exit 1; }
	@[ -n '$(OFFLINE)' ] || { $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null && command -v git >/dev/null; } || \
	  { command -v apt-get >/dev/null || \
	      { echo "mnrun needs git, and the modules ensurepip and venv of $(PYTHON). Install them first." >&2; exit 1; }; \
	    echo "== Debian packages: python3-venv git"; $(APT) update; $(APT) install -y --no-install-recommends python3-venv git; }
	@echo "== .venv"
	@$(PYTHON) -m venv $(if $(OFFLINE),--without-pip) .venv
	@[ -z '$(OFFLINE)' ] || .venv/bin/python "$$(echo $(OFFLINE)/wheels/pip-*.whl)/pip" install -qq pip

# An editable install copies the collection too, and a copy goes stale: see pyproject.toml.
.venv/installed .venv/installed-dev .venv/installed-docs: .venv/installed%: .venv/bin/pip pyproject.toml galaxy.yml
	@echo "== mnrun in .venv"
	@$(BIN)/pip install -qq --disable-pip-version-check -e '.$(if $*,[$(*:-%=%)])'
	@rm -rf .venv/lib/python3*/site-packages/ansible_collections/mnrun
	@touch $@
