# Every target works by itself on a fresh clone of a machine with git, make and python3 >= 3.11
# (venv, pip). uv is used when present; otherwise it is put into .uv/ here, and nowhere else.

UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
BIN := .venv/bin
# Groups of packages add up: setting up one target never removes what another one needs.
SYNC := $(UV) sync --locked --inexact --no-python-downloads

.DEFAULT_GOAL := help
.PHONY: help demo test soak check bench bench-peers docs format hooks setup

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(UV)  ## Run a backtest on real daily bars and write its report
	$(SYNC) --no-default-groups --group demo
	@scripts/demo.sh

test: setup  ## Run all tests
	$(BIN)/pytest -n auto --dist loadfile

soak: setup  ## Compare both hosts on 20,000 more random cases, kill 300 runs and 1,000 live sessions, a million random events, 70,000 files (two hours)
	ONETAPE_KILLS=300 $(BIN)/pytest tests/simulation/test_resume.py
	ONETAPE_EVENTS=1000000 $(BIN)/pytest tests/property/test_all_kinds.py
	ONETAPE_KILLS=100 $(BIN)/pytest tests/simulation/test_killed_ingest.py
	ONETAPE_KILLS=500 $(BIN)/pytest tests/live/test_killed_session.py
	ONETAPE_KILLS=500 $(BIN)/pytest tests/live/ibkr/test_killed.py
	ONETAPE_FAULTS=200 $(BIN)/pytest tests/live/test_faulty_sessions.py tests/live/test_emulated_faults.py
	ONETAPE_FUZZ=10000 $(BIN)/pytest tests/property/test_import_csv.py tests/property/test_import_ticks.py
	ONETAPE_SOAK=200 $(BIN)/pytest tests/parity/test_compiled_host.py
	ONETAPE_SOAK_HOURS=24 $(BIN)/pytest -s tests/simulation/test_live_soak.py

check: setup  ## Lint, formatting, types, architecture, dependencies, lock file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry src
	$(UV) lock --check

bench: setup  ## Measure speed, with ratios against a fixed calibration loop
	$(BIN)/python -m benchmarks

bench-peers: setup  ## Install the peers and measure them side by side (half an hour)
	$(BIN)/python -m benchmarks.peers --markdown benchmarks/RESULTS.md

docs: setup  ## Build the documentation into site/
	$(BIN)/mkdocs build --strict

format: setup  ## Sort imports and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: setup  ## Lint and check formatting before each git commit
	$(BIN)/pre-commit install

setup: $(UV)  ## Install everything into .venv
	$(SYNC) --all-extras

.uv/bin/uv:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "onetape needs python3 >= 3.11; this one is $$(python3 --version)" >&2; exit 2; }
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check "uv>=0.9"
