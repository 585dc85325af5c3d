# Every target installs what it needs into .venv first; see .ci/install.
PYTHON := .venv/bin/python
PLANE := $(PYTHON) -m flows.triggers.plane
PORTS = $(if $(PORT),--port $(PORT)) $(if $(RECEIVER_PORT),--receiver-port $(RECEIVER_PORT))
SERVERS := pgbouncer prometheus-alertmanager etcd-server chromium openssh-client openssh-sftp-server restic redis-tools redis-server postgresql-15 pgbackrest

.PHONY: install up down status lab lab-stripe lab-break-stripe lab-break-data lab-break-disaster fake-stripe demo demo-disaster test drills check bench-failover bench-stripe bench-consistency bench-backup

install: ## what everything else needs
	@.ci/install

up: install ## the control plane for your clusters; PORT=4200 RECEIVER_PORT=8090 choose its ports
	@$(PLANE) up $(PORTS)

down: ## end it; a recovery that is running is waited for
	@$(PLANE) down

status:
	@$(PLANE) status || true

lab: ## the patient: three PostgreSQL servers, a pooler, a small shop; `make up` knows it as `orders`
	@.ci/install pgbouncer
	@$(PYTHON) -m tests.lab up

lab-break-disaster: ## every node of it and all data are lost; its backups are left
	@$(PYTHON) -m tests.lab break-disaster

lab-stripe: install ## the patient for Stripe: a shop, its webhooks, a Stripe of the lab; `make up` knows it as `shop`
	@$(PYTHON) -m tests.lab.shop up

lab-break-stripe: install ## its webhooks get lost for some hours, and its tables drift
	@$(PYTHON) -m tests.lab.shop break

lab-break-data: ## rows of that shop are lost, doubled, stuck and otherwise wrong
	@$(PYTHON) -m tests.lab.shop break-data

fake-stripe: install ## a Stripe of the lab alone, for the unmodified SDK; PORT=12111 chooses its port
	@$(PYTHON) -m tests.lab.stripe $(if $(PORT),--port $(PORT))

demo: ## a primary dies and is recovered; DEMO_EXIT=1 ends when it has shown that
	@.ci/install pgbouncer
	@$(PYTHON) -m tests.lab.demo

demo-disaster: ## all servers and their data are lost, and come back from the backup; DEMO_EXIT=1 as above
	@.ci/install pgbouncer
	@$(PYTHON) -m tests.lab.demo_disaster

test: ## everything that fits into twenty minutes
	@.ci/install $(SERVERS)
	@.ci/test

drills: ## what `make test` has no time for
	@.ci/install $(SERVERS)
	@SALVOR_TESTS=long .ci/test

check: install ## style, types, layers, deployments
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@$(PYTHON) -m pytest -q tests/contract

bench-failover: ## how fast, next to the physical floor and to Prefect's own path
	@.ci/install pgbouncer
	@$(PYTHON) -m tests.lab.bench

bench-stripe: install ## the same for Stripe: next to the bare requests and to the naive way
	@$(PYTHON) -m tests.lab.bench_stripe

bench-consistency: install ## the same for wrong rows, next to the bare queries and to naive SQL; SCALE=0.01 makes it small
	@$(PYTHON) -m tests.lab.bench_consistency $(if $(SCALE),--scale $(SCALE))

bench-backup: install ## the same for backups and disasters, next to cp and to PostgreSQL's own tools; SCALE=0.05 makes it small
	@$(PYTHON) -m tests.lab.bench_backup $(if $(SCALE),--scale $(SCALE))
