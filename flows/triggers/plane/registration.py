"""Tell a Prefect server what Salvor has: block types, the default blocks, work pools, deployments and automations.

Run `python -m flows.triggers.plane.registration ROOT [DEPLOYMENTS]`; running it again changes only what has changed.
"""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.base import BaseWorker
from prefect.workers.process import ProcessWorker
from pydantic import SecretStr

from blocks.catalogue import BLOCKS
from blocks.intake import Intake
from blocks.ledger.block import Ledger
from flows.triggers.plane.folder import PROJECT, keep_secret
from flows.triggers.responder.worker import Responder

DEPLOYMENTS = PROJECT / "deployments.yaml"
DRILLS = ("nightly", "weekly-moment", "monthly-latest")
#: Schedules of which every block gets a copy of its own: deployment, slug, and of which types there must be one by its
#: name. Rules that are shared by several databases have a name that is of none.
PATTERNS = (
    ("postgres-failover", "weekly-dry-run", ("salvor-postgres-cluster",)),
    ("stripe-resync", "nightly-dry-run", ("salvor-stripe-account",)),
    ("consistency-check", "hourly", ("salvor-app-database", "salvor-rule-pack")),
    ("backup-take", "nightly", ("salvor-backup-repository",)),
    *(("backup-drill", slug, ("salvor-backup-repository", "salvor-scratch")) for slug in DRILLS),
)
#: `responder` is for what must start at once, `salvor` for everything else.
POOLS: dict[str, type[BaseWorker[Any, Any, Any]]] = {"responder": Responder, "salvor": ProcessWorker}


def save_default(name: str, block: Block) -> None:
    """Save BLOCK unless somebody has already saved one by this name."""
    try:
        type(block).load(name)
    except ValueError:
        block.save(name)


def register_blocks(root: Path) -> None:
    """Make all block types known, and the ledger and the receiver's secrets usable without further ado."""
    for block in BLOCKS:
        block.register_type_and_schema()
    ledger = Ledger(url=SecretStr(f"sqlite:///{root / 'ledger.db'}"))
    save_default("ledger", ledger)
    token, _ = keep_secret(root / "receiver-token", secrets.token_urlsafe(24))
    save_default("intake", Intake(bearer_token=SecretStr(token)))
    cast("Ledger", Ledger.load("ledger")).upgrade()


def create_pools(client: SyncPrefectClient) -> None:
    """Make the work pools that deployments.yaml names."""
    for name, worker in POOLS.items():
        template = worker.get_default_base_job_template()
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            pool = WorkPoolCreate(name=name, type=worker.type, base_job_template=template)
            with contextlib.suppress(ObjectAlreadyExists):
                client.create_work_pool(pool)


def deploy(file: Path) -> None:
    """Create all deployments with their schedules and automations, as the command line would."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--prefect-file", str(file), "--all"]
    subprocess.run(command, cwd=PROJECT, check=True)  # noqa: S603


def targets_of(client: SyncPrefectClient, block_types: tuple[str, ...]) -> list[str]:
    """Name what has a block of every one of the types."""
    found = [client.read_block_documents_by_type(each, include_secrets=False) for each in block_types]
    return sorted(set.intersection(*({block.name for block in blocks if block.name} for blocks in found)))


def schedule_looks(client: SyncPrefectClient, name: str, pattern_slug: str, block_types: tuple[str, ...]) -> None:
    """Give every target its own schedule of NAME, cut from the inactive pattern in deployments.yaml."""
    try:
        deployment = client.read_deployment_by_name(f"{name}/{name}")
    except ObjectNotFound:
        return
    slugs = {schedule.slug for schedule in deployment.schedules}
    pattern = next(schedule for schedule in deployment.schedules if schedule.slug == pattern_slug)
    for target in targets_of(client, block_types):
        if (slug := f"{pattern_slug}-{target}") not in slugs:
            parameters = pattern.parameters | {"target": target}
            schedule = DeploymentScheduleCreate(
                schedule=pattern.schedule, active=True, slug=slug, parameters=parameters
            )
            client.create_deployment_schedules(deployment.id, [schedule])


def main() -> None:
    """Register everything."""
    root, *files = (Path(argument).resolve() for argument in sys.argv[1:])
    with get_client(sync_client=True) as client:
        create_pools(client)
        register_blocks(root)
        for file in files or [DEPLOYMENTS]:
            deploy(file)
        for pattern in PATTERNS:
            schedule_looks(client, *pattern)


if __name__ == "__main__":
    main()
