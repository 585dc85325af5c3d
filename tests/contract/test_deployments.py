"""deployments.yaml against the flows: Prefect deploys a typo without a word, and its automation starts nothing."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint

from flows.triggers.events import EVENT_NAMES
from flows.triggers.plane.registration import PATTERNS, POOLS
from tasks.event import CONCLUDED, Payload
from tests.contract.source import deployments

TOP = {"name", "pull", "definitions", "deployments"}
DEPLOYMENT = {
    "name",
    "entrypoint",
    "description",
    "tags",
    "version",
    "parameters",
    "work_pool",
    "schedules",
    "triggers",
}
POOL = {"name", "work_queue_name", "job_variables"}
SCHEDULE = {"slug", "cron", "interval", "rrule", "timezone", "anchor_date", "active", "parameters"}
TRIGGER = {"name", "type", "posture", "expect", "match", "for_each", "threshold", "within", "parameters"}
TEMPLATE = re.compile(r"\{\{\s*event\.payload\.(\w+)(?:\s*\|\s*tojson)?\s*\}\}")
EXAMPLE = {
    name: {"bool": True}.get(str(field.annotation.__name__ if field.annotation else ""), "orders")
    for name, field in Payload.model_fields.items()
}

FILE = deployments()
every = pytest.mark.parametrize("deployment", FILE["deployments"], ids=lambda deployment: deployment["name"])


def flow_of(deployment: dict[str, Any]) -> Flow[Any, Any]:
    return load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)


def triggers() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(d, trigger) for d in FILE["deployments"] for trigger in d.get("triggers", [])]


def rendered(value: Any) -> Any:
    """Fill in the templates of a trigger's parameters as the server would, with the example."""
    if isinstance(value, dict) and value.get("__prefect_kind") == "json":
        inner = value["value"]
        assert set(inner) == {"__prefect_kind", "template"}
        assert inner["__prefect_kind"] == "jinja"
        found = TEMPLATE.fullmatch(inner["template"])
        assert found, inner
        assert "tojson" in inner["template"], inner
        return EXAMPLE[found[1]]
    if isinstance(value, dict):
        return {key: rendered(inner) for key, inner in value.items()}
    if isinstance(value, str) and "{{" in value:
        found = TEMPLATE.fullmatch(value)
        assert found, f"{value} is not one key of the payload"
        assert found[1] in EXAMPLE, f"no event carries {found[1]}"
        assert isinstance(EXAMPLE[found[1]], str), f"{found[1]} is no text: use the json form"
        return EXAMPLE[found[1]]
    assert not isinstance(value, list) or "{{" not in str(value), "templates in a list are not rendered"
    return value


def test_no_key_is_unknown() -> None:
    """Prefect ignores what it does not know."""
    assert set(FILE) == TOP
    for deployment in FILE["deployments"]:
        assert set(deployment) <= DEPLOYMENT, deployment["name"]
        assert set(deployment["work_pool"]) <= POOL
        assert all(set(schedule) <= SCHEDULE for schedule in deployment.get("schedules", []))
        assert all(set(trigger) <= TRIGGER for trigger in deployment.get("triggers", []))


@every
def test_the_entrypoint_is_the_flow(deployment: dict[str, Any]) -> None:
    """The deployment is named as its flow, which is loaded as a module."""
    assert ":" not in deployment["entrypoint"]
    assert flow_of(deployment).name == deployment["name"]
    assert FILE["pull"] == []


@every
def test_the_defaults_fit_the_form(deployment: dict[str, Any]) -> None:
    """Every default is a parameter of the flow and passes its policy; none says what the target is."""
    defaults = deployment.get("parameters", {})
    assert "target" not in defaults
    flow = flow_of(deployment)
    assert set(defaults) <= set(flow.parameters.properties)
    flow.validate_parameters({"target": "orders"} | defaults)


@every
def test_the_schedules_fit_the_form(deployment: dict[str, Any]) -> None:
    """A schedule that names no target is not active; what it sets passes the policy."""
    flow = flow_of(deployment)
    for schedule in deployment.get("schedules", []):
        assert schedule["slug"]
        assert schedule["parameters"].get("target") or schedule["active"] is False
        assert set(schedule["parameters"]) <= set(flow.parameters.properties)
        flow.validate_parameters(deployment.get("parameters", {}) | schedule["parameters"])


#: What may run for every block without being asked: it adds a set, or builds a copy where nothing else lives.
HARMLESS = {"backup-take", "backup-drill"}


@pytest.mark.parametrize(("name", "slug"), [each[:2] for each in PATTERNS])
def test_there_is_the_pattern_of_a_look(name: str, slug: str) -> None:
    """From it the registration cuts one for each target: a dry run, a procedure without a gate, or a harmless one."""
    deployment = next(d for d in FILE["deployments"] if d["name"] == name)
    (pattern,) = [schedule for schedule in deployment["schedules"] if schedule["slug"] == slug]
    if "approve" in inspect.unwrap(flow_of(deployment).fn).__globals__ and name not in HARMLESS:
        assert pattern["parameters"]["policy"]["dry_run"] is True


@every
def test_the_pool_is_one_that_is_made(deployment: dict[str, Any]) -> None:
    """Registration creates it."""
    assert deployment["work_pool"]["name"] in POOLS


@pytest.mark.parametrize(("deployment", "trigger"), triggers(), ids=lambda value: value["name"])
def test_the_trigger_hears_what_is_said(deployment: dict[str, Any], trigger: dict[str, Any]) -> None:
    """It expects events of the grammar, only those that name its procedure, and one run per resource."""
    assert set(trigger["expect"]) <= {*EVENT_NAMES.values(), CONCLUDED}
    assert not [name for name in trigger["expect"] if name.rpartition(".")[2] in {"resolved", "withdrawn", "returned"}]
    assert trigger["match"]["salvor.procedure"] == deployment["name"]
    assert trigger["match"]["prefect.resource.id"].startswith("recovery.")
    assert trigger["for_each"] == ["prefect.resource.id"]
    assert (trigger["type"], trigger["posture"], trigger["threshold"], trigger["within"]) == ("event", "Reactive", 1, 0)


@pytest.mark.parametrize(("deployment", "trigger"), triggers(), ids=lambda value: value["name"])
def test_the_trigger_fills_in_the_form(deployment: dict[str, Any], trigger: dict[str, Any]) -> None:
    """Every key it takes is in every payload, every value has its type, and nothing is missing."""
    flow = flow_of(deployment)
    parameters = rendered(trigger["parameters"])
    dry = trigger["match"]["salvor.dry-run"] == "yes"
    assert set(parameters) == set(flow.parameters.properties) - (set() if dry else {"policy"})
    validated = flow.validate_parameters(parameters)
    begins_dry = inspect.signature(flow.fn).parameters["policy"].default.dry_run
    assert validated["policy"].dry_run is (dry or begins_dry)
    assert validated["target"] == "orders"


def test_only_a_dry_run_replaces_the_policy_of_a_deployment() -> None:
    """An approval that somebody sets on a deployment must hold for every real event."""
    for deployment, trigger in triggers():
        dry = trigger["match"]["salvor.dry-run"] == "yes"
        assert ("policy" in trigger["parameters"]) is dry, deployment["name"]


def test_every_source_can_ask_for_a_failover() -> None:
    """No source of alerts is forgotten."""
    failover = next(d for d in FILE["deployments"] if d["name"] == "postgres-failover")
    heard = {name for trigger in failover["triggers"] for name in trigger["expect"]}
    assert heard == {name for (_, status), name in EVENT_NAMES.items() if status == "firing"}


def test_no_limit_of_prefect_can_end_a_recovery() -> None:
    """Prefect kills a run whose concurrency lease it cannot renew, e.g. because its server is down."""
    assert not [d["name"] for d in FILE["deployments"] if "concurrency_limit" in d]
