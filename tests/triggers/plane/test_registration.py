"""What every target gets by itself."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import IntervalSchedule
from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.rule_pack import RulePack
from flows.triggers.plane.registration import PATTERNS, schedule_looks

RULES = "rules:\n  - {name: one, kind: invariant, query: SELECT 1}\n"


def test_each_database_with_a_pack_of_its_name_is_looked_at_every_hour(prefect_server):
    """Active, once however often it is registered; a pack that several share, and a database without one, get none."""
    (pattern,) = [each for each in PATTERNS if each[0] == "consistency-check"]
    name = f"looks-{uuid4().hex[:8]}"
    for database in ("scheduled", "unruled"):
        AppDatabase(url=SecretStr("postgresql://u@127.0.0.1/x")).save(database, overwrite=True)
    for pack in ("scheduled", "shared-by-many"):
        RulePack(rules=RULES).save(pack, overwrite=True)
    inactive = DeploymentScheduleCreate(
        schedule=IntervalSchedule(interval=timedelta(hours=1)), active=False, slug=pattern[1], parameters={"target": ""}
    )
    with get_client(sync_client=True) as client:
        flow = client.create_flow_from_name(name)
        client.create_deployment(flow, name, schedules=[inactive])
        for _ in range(2):
            schedule_looks(client, name, *pattern[1:])
        found = client.read_deployment_by_name(f"{name}/{name}").schedules
    made = {each.slug: (each.active, each.parameters["target"]) for each in found}
    wanted = {slug for slug in made if "scheduled" in str(slug) or "unruled" in str(slug) or "many" in str(slug)}
    assert wanted == {"hourly-scheduled"}
    assert made["hourly-scheduled"] == (True, "scheduled")
    assert made["hourly"] == (False, "")
    assert len(found) == len(made)
