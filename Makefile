# Every target makes the environment it needs in .venv; `make help` lists them.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PEERS := $(VENV)/peers
AUTOLOGGING := $(VENV)/autologging
EXPORT_IMPORT := $(VENV)/export-import
PKG := mlflow_weir

SERVE ?= 1
PORT ?= 5000
DEMO_HOME ?= demo-data
# Processes that run tests side by side; 0 runs them in one, where a debugger works.
JOBS ?= 2
# A file's tests share servers, so one process runs them; files in the order of tests/conftest.py.
SPREAD = -n $(JOBS) --dist loadfile --no-loadscope-reorder
# Further arguments for pytest: make test PYTEST_ARGS="tests/unit -k settings"
PYTEST_ARGS ?=
# A folder in which bench-long keeps what takes long to fill.
DATA ?=

.DEFAULT_GOAL := help
.PHONY: help env web web-check demo test test-long test-older check typing-tree types lint docs export-import bench bench-long host-suite host-suite-journal clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '%-18s %s\n' "$$name" "$$text"; done

env: $(STAMP) ## make the environment in .venv

$(STAMP): pyproject.toml setup.cfg
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	$(PY) -m pip install --quiet --editable . --group dev
	touch $@

# A digest beside the bundle tells what it was built from: nothing runs where no source changed.
web: $(STAMP) ## build the pages (ui_extensions/web) where their sources changed
	@needed="$$($(PY) ui_extensions/web/build_hook.py requirements)"; \
		[ -z "$$needed" ] || $(PY) -m pip install --quiet "$$needed"
	$(PY) ui_extensions/web/build_hook.py

web-check: web ## types and unit tests of the pages
	$(PY) ui_extensions/web/build_hook.py check

demo: $(STAMP) ## train small real models on weir:, then open the UI (SERVE=0: do not; PORT=5000)
	@$(MAKE) --no-print-directory web || echo "Weir's pages are not built; MLflow's own are there" >&2
	@exec $(VENV)/bin/weir demo --home $(DEMO_HOME) --port $(PORT) $(if $(filter 0,$(SERVE)),--no-serve)

# Tests start hundreds of processes. Where bytecode may not be kept, as many container images have
# it, each of them would compile this package anew: a quarter of what importing it takes.
test test-long docs host-suite host-suite-journal: export PYTHONDONTWRITEBYTECODE =

# The pages' own tests do not keep Python's from running, nor the other way round.
test: $(STAMP) ## run the tests; skips are listed with their reasons
	@status=0; $(MAKE) --no-print-directory web-check || status=1; \
		$(PY) -m pytest $(SPREAD) -m "not long" $(PYTEST_ARGS) || status=1; \
		exit $$status

test-long: $(STAMP) $(EXPORT_IMPORT)/.installed ## run all tests, those that take minutes too
	@status=0; $(MAKE) --no-print-directory web-check || status=1; \
		$(PY) -m pytest $(SPREAD) --hypothesis-profile=long $(PYTEST_ARGS) || status=1; exit $$status

# What tells one version of MLflow from another: its private names, its stores' answers, its schemes.
OLDER = $(VENV)/mlflow-$(MLFLOW)
OLDER_TESTS = tests/unit tests/host/test_same_answers.py tests/host/test_search_runs.py \
	tests/host/test_metric_history.py tests/host/test_scheme_rows.py tests/host/test_db_commands.py \
	tests/host/test_ui.py
# -k "not postgresql and not mariadb" leaves SQLite alone.
test-older: ## run the tests that MLflow's version matters to on another (MLFLOW=3.15)
	@test -n "$(MLFLOW)" || { echo "say MLFLOW=3.15, a minor version of MLflow" >&2; exit 2; }
	test -x $(OLDER)/bin/python || $(PYTHON) -m venv $(OLDER)
	$(OLDER)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(OLDER)/bin/python -m pip install --quiet "mlflow==$(MLFLOW).*" --editable . --group dev
	$(OLDER)/bin/python -m pytest $(SPREAD) -m "not long" $(OLDER_TESTS) $(PYTEST_ARGS)

check: lint types docs web-check ## lint, format, types and docs

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# A link tree through which type checkers and editors see the mapped folders as one package;
# nothing needs it at run time.
typing-tree:
	rm -rf .typing
	mkdir -p .typing/$(PKG)
	cd .typing/$(PKG) && ln -s ../../plugin/_root/*.py ../../plugin/_root/py.typed \
		../../plugin ../../store ../../ui_extensions .

types: $(STAMP) typing-tree
	$(PY) -m mypy -p $(PKG)
	$(PY) -m mypy tests
	$(PY) -m mypy benchmarks

docs: $(STAMP)
	$(PY) -m pytest tests/docs

# Other libraries that log, apart from ours: what they depend on must not change what is measured.
# The results say which of them were not there.
$(PEERS)/.installed: pyproject.toml | $(STAMP)
	test -x $(PEERS)/bin/python || $(PY) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(PEERS)/bin/python -m pip install --quiet --group bench \
		|| echo "not all of the group bench can be installed: measured without" >&2
	touch $@

# It uses tabulate without saying so, which the group adds.
$(EXPORT_IMPORT)/.installed: pyproject.toml | $(STAMP)
	test -x $(EXPORT_IMPORT)/bin/python || $(PY) -m venv $(EXPORT_IMPORT)
	$(EXPORT_IMPORT)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(EXPORT_IMPORT)/bin/python -m pip install --quiet --group export-import
	touch $@

export-import: $(EXPORT_IMPORT)/.installed ## install mlflow-export-import, for the tests that use it

bench: web $(PEERS)/.installed ## measure stock MLflow, other libraries and Weir side by side
	$(PY) benchmarks/run.py

bench-long: web $(PEERS)/.installed ## the same up to 1,000,000 runs and 100,000,000 points (hours; DATA=DIR keeps them)
	$(PY) benchmarks/run.py --long $(if $(DATA),--data "$(DATA)")

host-suite: $(STAMP) ## run MLflow's own store tests on Weir (MLFLOW_SOURCE=a checkout of MLflow)
	@test -n "$(MLFLOW_SOURCE)" || { echo "say MLFLOW_SOURCE=DIR, a checkout of MLflow at the installed version's tag" >&2; exit 2; }
	$(PY) -m pip install --quiet --group host-suite
	$(PY) tests/host_suite/run.py --source $(MLFLOW_SOURCE)

# In an environment of its own for the libraries that it trains with, PyTorch among them.
$(AUTOLOGGING)/.installed: pyproject.toml setup.cfg
	test -x $(AUTOLOGGING)/bin/python || $(PYTHON) -m venv $(AUTOLOGGING)
	$(AUTOLOGGING)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(AUTOLOGGING)/bin/python -m pip install --quiet --editable . --group test \
		--group host-suite --group autologging
	touch $@

host-suite-journal: $(AUTOLOGGING)/.installed ## run MLflow's own tests of clients and autologging through the journal
	@test -n "$(MLFLOW_SOURCE)" || { echo "say MLFLOW_SOURCE=DIR, a checkout of MLflow at the installed version's tag" >&2; exit 2; }
	$(AUTOLOGGING)/bin/python tests/host_suite/run_journal.py --source $(MLFLOW_SOURCE)
	$(AUTOLOGGING)/bin/python tests/host_suite/run_examples.py --source $(MLFLOW_SOURCE)

clean: ## remove what the targets made, the environment too
	rm -rf $(VENV) ui_extensions/static ui_extensions/web/node_modules .typing build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis $(DEMO_HOME)
