"""Imports run flows -> tasks -> blocks, never upwards, never sideways; what decides is pure."""

from __future__ import annotations

import sys

import pytest

from tests.contract.source import ROOT, Source, sources

OURS = ("flows", "tasks", "blocks")
MAY_IMPORT = {"flows": {"flows", "tasks", "blocks"}, "tasks": {"tasks", "blocks"}, "blocks": {"blocks"}}
#: Names of files that are pure wherever they are, and files that are.
PURE_STEMS = {
    *("state", "policies", "candidates", "judge", "repair_state", "repair_policies"),
    *("replay_state", "replay_policies", "requeue_state", "event_subject"),
}
PURE_FILES = {
    "blocks/backup_listing.py",
    "blocks/wal_proof.py",
    "blocks/backup_records.py",
    "blocks/errors.py",
    "blocks/pgbackrest_says.py",
    "blocks/ledger/records.py",
    "blocks/rules.py",
    *(
        f"tasks/backups/{n}.py"
        for n in (
            "aims",
            "choose",
            "extract_state",
            "judge_extract",
            "judge_outside",
            "judge_take",
            "retention",
            "survey",
        )
    ),
    "tasks/consistency/judge_check.py",
    "tasks/consistency/judge_repair.py",
    "tasks/consistency/naming.py",
    "tasks/consistency/suggest_state.py",
    "tasks/event.py",
    "tasks/model.py",
    *(f"tasks/stripe/{n}.py" for n in ("copy_format", "drift", "judge_resync", "kinds", "shapes", "windows")),
    "tasks/report_text.py",
    "tasks/verdict.py",
    "flows/triggers/events.py",
    *(f"flows/triggers/receiver/{n}.py" for n in ("alertmanager", "generic", "grafana", "pagerduty")),
    "flows/triggers/sentinel/detect.py",
    *(f"flows/triggers/archiver/{n}.py" for n in ("decide", "troubles")),
}
IMPURE = {"time", "random", "os", "socket", "subprocess", "asyncio", "threading", "secrets", "tempfile", "shutil"}
DRIVERS = {"psycopg", "sqlalchemy", "alembic", "redis", "stripe", "openai", "apprise", "pagerduty", "httpx"}
#: Why a driver is imported outside blocks/.
EXCEPTIONS = {
    ("tasks/consistency/detect.py", "psycopg"): "tells a damaged index from a statement that could not be run",
    ("tasks/consistency/giving_back.py", "psycopg"): "tells a row that a constraint refuses from one that failed",
    ("tasks/consistency/sampling.py", "psycopg"): "tells a sample that took too long from one that could not be taken",
    ("tasks/patient.py", "sqlalchemy"): "asks the ledger, and Prefect's settings, which server they are on",
    ("flows/triggers/plane/prefect_server.py", "sqlalchemy"): "names the types of Prefect's own database session",
    ("flows/triggers/loading.py", "httpx"): "Prefect's client raises httpx' errors",
    ("flows/triggers/responder/worker.py", "httpx"): "Prefect's client raises httpx' errors",
    ("flows/triggers/plane/plane.py", "httpx"): "asks whether the servers it started answer",
}


def pure(source: Source) -> bool:
    decides = source.path.stem in PURE_STEMS or source.path.stem.startswith("decide")
    return source.name in PURE_FILES or (decides and source.name.startswith("tasks/"))


@pytest.mark.parametrize("layer", OURS)
def test_imports_never_run_upwards(layer: str) -> None:
    """A layer imports itself and what is below it, and never the tests or the patient."""
    wrong = [
        f"{source.name} imports {name}"
        for source in sources(layer)
        for name in source.imports()
        if name.split(".")[0] in {*OURS, "tests"} - MAY_IMPORT[layer]
    ]
    assert not wrong


def test_subjects_do_not_know_each_other() -> None:
    """A package of tasks imports no other one; only flows compose subjects."""
    subjects = {p.name for p in (ROOT / "tasks").iterdir() if (p / "__init__.py").exists()}
    wrong = [
        f"{source.name} imports {name}"
        for subject in subjects
        for source in sources(f"tasks/{subject}")
        for name in source.imports()
        if name.split(".")[0] == "tasks" and len(name.split(".")) > 1 and name.split(".")[1] in subjects - {subject}
    ]
    assert not wrong


def test_procedures_do_not_import_each_other() -> None:
    """A procedure is read alone: beside tasks and blocks it imports what makes it a procedure."""
    wrong = [
        f"{source.name} imports {name}"
        for source in sources("flows")
        if source.path.parent.name == "flows"
        for name in source.imports()
        if name.startswith("flows.") and not name.startswith("flows.procedure")
    ]
    assert not wrong


def test_what_decides_is_pure() -> None:
    """It imports the standard library without clock, chance and world, pydantic, and what is pure as well."""
    ours = {source.module for source in sources(*OURS) if pure(source)}
    packages = {module.rpartition(".")[0] for module in ours}
    wrong = []
    for source in filter(pure, sources(*OURS)):
        for name in source.imports():
            top = name.split(".")[0]
            known = name in ours | packages or name.rpartition(".")[0] in ours
            if not (known or top == "pydantic" or (top in sys.stdlib_module_names and top not in IMPURE)):
                wrong.append(f"{source.name} imports {name}")
    assert not wrong


def test_there_are_pure_files() -> None:
    """The list above names files that exist."""
    assert not [name for name in PURE_FILES if not (ROOT / name).exists()]
    assert [source for source in sources("tasks") if pure(source) and source.path.stem == "decide"]


def composes(source: Source) -> bool:
    taken = {name for name in source.imports() if name.split(".")[0] in DRIVERS}
    return taken == {"psycopg", "psycopg.sql"} and "import psycopg\n" not in source.text


def test_drivers_are_imported_in_blocks() -> None:
    """Only a block speaks to the outside world; every exception has its reason, and is still needed.

    `psycopg.sql` writes a statement and opens nothing.
    """
    found = {
        (source.name, name.split(".")[0])
        for source in sources("flows", "tasks")
        for name in source.imports()
        if name.split(".")[0] in DRIVERS and not composes(source)
    }
    assert found - set(EXCEPTIONS) == set()
    assert set(EXCEPTIONS) - found == set()


def test_packages_are_empty() -> None:
    """Importing a package runs nothing."""
    assert not [source.name for source in sources(*OURS) if source.path.stem == "__init__" and source.text.strip()]
