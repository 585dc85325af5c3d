# Every target installs what it needs into .venv first; see .ci/install.
PYTHON := .venv/bin/python
PLANE := $(PYTHON) -m flows.triggers.plane
PORTS = $(if $(PORT),--port $(PORT)) $(if $(RECEIVER_PORT),--receiver-port $(RECEIVER_PORT))
SERVERS := pgbouncer prometheus-alertmanager etcd-server chromium openssh-client

.PHONY: install up down status lab fake-stripe demo test check bench-failover

install: ## what everything else needs
	@.ci/install

up: install ## the control plane for your clusters; PORT=4200 RECEIVER_PORT=8090 choose its ports
	@$(PLANE) up $(PORTS)

down: ## end it; a recovery that is running is waited for
	@$(PLANE) down

status:
	@$(PLANE) status || true

lab: ## the patient alone: three PostgreSQL servers, a pooler, a small shop
	@.ci/install pgbouncer
	@$(PYTHON) -m tests.lab up

fake-stripe: install ## a Stripe of the lab alone, for the unmodified SDK; PORT=12111 chooses its port
	@$(PYTHON) -m tests.lab.stripe $(if $(PORT),--port $(PORT))

demo: ## a primary dies and is recovered; DEMO_EXIT=1 ends when it has shown that
	@.ci/install pgbouncer
	@$(PYTHON) -m tests.lab.demo

test: ## everything
	@.ci/install $(SERVERS)
	@.ci/test

check: install ## style, types, layers, deployments
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(PYTHON) -m pytest -q tests/contract

bench-failover: ## how fast, next to the physical floor and to Prefect's own path
	@.ci/install pgbouncer
	@$(PYTHON) -m tests.lab.bench
