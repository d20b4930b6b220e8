# Two targets are enough to begin with: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
MEMBERS := libs/contracts libs/chassis libs/devservices libs/gatewayservers libs/system services/orders services/payments services/fulfillment services/invoicing services/webhooks services/console services/dintero_compat
SERVICES := orders payments fulfillment invoicing webhooks console
READY := $(VENV)/.ready-$(shell cat requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS)) | cksum | cut -d' ' -f1)

# Without compiled sources each of the some hundred processes of a test run compiles all that it imports.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo up down test test-fast bench chaos screenshots lint fmt verify lock clean

help: ## Show what there is
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ...")'
	@test -w . || { echo "$(CURDIR) cannot be written: clone the repository to a directory of your own"; exit 1; }
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: install it, or name another Python with PYTHON="; exit 1; }
	@echo "installing the pinned packages (once) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock \
		|| { echo "The packages could not be installed: is a package index reachable? Nothing was started."; exit 1; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@rm -f $(VENV)/.ready-*; touch $@

demo: $(READY) ## Replay real orders through the real system (FILE=some.csv ORDERS=20000)
	@$(RUN) -m demo $(if $(FILE),--file "$(FILE)") $(if $(ORDERS),--orders "$(ORDERS)")

up: $(READY) ## Leave the whole system running, addresses printed
	@$(RUN) -m system up

down: $(READY) ## Stop what `make up` started
	@$(RUN) -m system down

test: $(READY) ## Everything: unit, property, integration on real components, crash
	@$(RUN) -m tests.run

test-fast: $(READY) ## The pure tests, in seconds
	@$(RUN) -m pytest -m "not real and not chaos" -n auto

chaos: $(READY) ## Minutes of killing under load, long outages, thousands of orders at gateways that fail (about 30 minutes)
	@$(RUN) -m pytest -m chaos tests/integration services/payments/tests -n 0 -s
	@TRADEWIND_SCHEMATHESIS_SHARE=1 $(RUN) -m tests.run -n 1 tests/integration/test_schemathesis.py
	@TRADEWIND_HOSTILE_SHARE=1 $(RUN) -m tests.run -n 1 tests/test_hostile_requests.py
	@TRADEWIND_RECONCILIATIONS=10000 $(RUN) -m pytest -q -n 0 services/payments/tests/test_payments_reconciling.py -k injected

bench: $(READY) ## Measure; writes bench/results.json and bench/results.svg (about 40 minutes; ONLY=relay for one part, into .devservices)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@$(RUN) -m bench $(addprefix --only ,$(ONLY))

screenshots: $(READY) ## Photograph the console with the demo's data: docs/console-*.png, all into .devservices/pictures (needs Chromium)
	@$(RUN) -m tests.screenshots

lint: $(READY) ## ruff, mypy strict, import-linter, the word list of our prose
	@$(RUN) -m ruff check --quiet .
	@$(RUN) -m ruff format --check --quiet .
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports --no-logo
	@$(RUN) -m tests.english

fmt: $(READY) ## Format
	@$(RUN) -m ruff check --quiet --fix . ; $(RUN) -m ruff format --quiet .

verify: $(READY) ## Regenerate schemas, AsyncAPI, SQL pages; fails when they differ from what is checked in
	@$(RUN) -m contracts.schemas --check
	@$(RUN) -m contracts.asyncapi --check
	@$(RUN) -m chassis.batch.golden --check $(SERVICES:%=%.handlers)
	@if command -v npm >/dev/null; then npm install --silent --no-package-lock --prefix libs/contracts/asyncapi-check && npm test --silent --prefix libs/contracts/asyncapi-check; else echo "Node is not here: the official AsyncAPI parser was left out"; fi

lock: $(READY) ## Write the locks anew (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements.in -o requirements.lock
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements.in bench/requirements.in -o requirements-bench.lock

clean: ## Remove what the targets above made
	@rm -rf $(VENV) .devservices
