"""The Prefect UI as somebody uses it who was just woken: in a real browser, on a real plane, with a real patient."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from blocks.catalogue import BLOCKS
from blocks.postgres import PostgresCluster
from flows.triggers.catalogue import procedures
from tasks.model import SELDOM_CHANGED, Outcome
from tests.drills.ward import Ward
from tests.ui.browser import Person

pytestmark = pytest.mark.drill


@pytest.mark.long
def test_the_descriptions_are_runbooks(person: Person) -> None:
    """Each heading of each procedure's runbook begins a paragraph of its own."""
    person.open("deployments")
    person.sign_in()
    for procedure in procedures():
        person.find_deployment(procedure)
        headings = person.look_at("Description").locator("p > strong:first-child")
        expect(headings).to_have_text(["Meaning.", "Impact.", "Diagnosis.", "Mitigation."])


def test_a_run_is_started_from_its_form(person: Person, ward: Ward) -> None:
    """The form says what each field is for, what matters comes first, and a dry run is started and ends."""
    person.open("")
    person.sign_in()
    person.sees("Event Feed")
    person.find_run_form("postgres-failover")
    person.fill("target", "orders")
    person.page.get_by_label("Dry Run (Optional)").click()
    person.fill("reason (Optional)", "rehearsal before the freeze")
    person.fill("requested_by (Optional)", "maria")
    person.take_picture("run_form", height=1240)
    labels = person.labels()
    assert labels[1:4] == ["target", "policy", "Dry Run"]
    seldom = [name.replace("_", " ").title() for name in SELDOM_CHANGED]
    assert labels[labels.index(seldom[0]) :][: len(seldom)] == seldom
    assert "`" not in person.page.locator("main form").inner_text()
    person.press("Submit")
    person.page.get_by_role("link", name="View run").click()
    run_id = re.findall(r"flow-run/([0-9a-f-]{36})", person.page.url)[0]
    run = ward.ended(run_id)
    assert (run.outcome, run.dry_run, run.requested_by) == (Outcome.NOTHING_TO_DO, True, "maria")
    person.page.reload()
    person.sees("NothingToDo")


@pytest.fixture
def power_loss(ward: Ward) -> None:
    """The primary's machine is off: it can be neither reached nor proven dead, and both standbys have noticed."""
    ward.record()
    ward.lab.kill_node("n1", host=False)
    receivers = "SELECT 1 FROM pg_stat_wal_receiver"
    ward.until(
        lambda: not ward.lab.psql("n2", receivers) + ward.lab.psql("n3", receivers), 20, "the standbys to notice"
    )


def test_a_plan_is_approved_and_its_report_read(person: Person, ward: Ward, power_loss: None) -> None:
    """Only a filled-in answer of somebody else approves; the report then says outcome, sentence, proof and timeline."""
    run_id = ward.start("postgres-failover", requested_by="maria", reason="pager: orders takes no writes")
    ward.await_state(run_id, "Paused")
    person.open(f"{ward.plane.env['PREFECT_UI_URL']}/runs/flow-run/{run_id}")  # as the page that woke them says
    person.sign_in()
    person.sees("failover-orders", "Paused", "Waiting for an approval")

    form = person.resume()
    expect(form).to_contain_text("n1 is gone (silent): n2 takes over")
    expect(form).to_contain_text("What will be lost: At most")
    expect(form).to_contain_text("Why a person is asked: no fence can be proven for n1")
    expect(form).to_contain_text("was asked for by maria: pager: orders takes no writes")
    expect(form.get_by_label("Approver")).to_be_in_viewport()
    person.take_picture("approval")
    person.choose("Decision", "approve", within=form)
    person.press("Resume", within=form)
    person.sees("'approver' is a required property")
    assert ward.state(run_id)["name"] == "Paused"

    person.fill("Approver", "Maria", within=form)
    person.send_answer(form)
    ward.until(lambda: ward.state(run_id)["state_details"]["pause_key"] == "approval-1", 20, "it to ask again")
    person.page.reload()
    form = person.resume()
    expect(form).to_contain_text("Maria asked for this run, so somebody else must approve it.")
    person.choose("Decision", "approve", within=form)
    person.fill("Approver", "jonas", within=form)
    person.fill("Comment (Optional)", "n1 has no power: seen at the rack", within=form)
    person.send_answer(form)
    run = ward.ended(run_id)
    assert run.outcome == Outcome.RECOVERED, run.why

    ward.until(lambda: "Recovered: n1 is gone" in logs(ward, run_id), 20, "the last line of the log")
    person.page.reload()
    person.sees("Recovered")
    person.await_drawing()
    person.take_picture("run", height=1240)
    report = person.read_report()
    expect(report.get_by_role("heading", level=1)).to_have_text("Recovered: postgres-failover on orders")
    expect(report.locator("p > strong").first).to_have_text(run.why)
    for heading in ("What is lost", "Evidence", "Timeline (UTC)", "What is left to do", "Circumstances"):
        expect(report.get_by_role("heading", name=heading)).to_be_visible()
    evidence = report.get_by_role("table").first.locator("tbody tr td:first-child")
    assert evidence.all_inner_texts() == ["yes"] * len(run.report["evidence"])
    expect(report.get_by_role("table").nth(1)).to_contain_text("Promote n2")
    expect(report).to_contain_text("n1 does not follow yet: run postgres-rejoin for it")
    expect(report).to_contain_text("jonas: n1 has no power: seen at the rack")
    person.take_picture("report", height=1300)


def logs(ward: Ward, run_id: str) -> str:
    """Return what the run has said."""
    wanted = {"logs": {"flow_run_id": {"any_": [run_id]}}}
    return "\n".join(line["message"] for line in ward.http.post("/logs/filter", json=wanted).json())


def test_a_cluster_is_described_in_a_form(person: Person, ward: Ward) -> None:
    """All our blocks are in the catalogue; the form of a cluster asks for each node, hides secrets, and is saved."""
    person.open("blocks")
    person.sign_in()
    person.page.locator("a[href*='/blocks/catalog']").first.click()
    # The page it leaves has such a field too, and takes what is written into it for the next address.
    expect(person.page).to_have_url(re.compile("/blocks/catalog"))
    for block in BLOCKS:  # not all of them are shown at once
        person.search(block._block_type_name)  # noqa: SLF001
    person.open("blocks/catalog/salvor-postgres-cluster/create")
    person.fill("Name", "billing")
    person.press("Add item")
    person.sees("Every server of the cluster", "Name of the node; also its application_name")
    person.page.get_by_label("Name", exact=True).nth(1).fill("db1")
    person.fill("Host", "db1.internal")
    person.fill("Data Directory", "/var/lib/postgresql/18/main")
    person.fill("Bin Directory", "/usr/lib/postgresql/18/bin")
    secret = person.page.get_by_label("Password (Optional)", exact=True)
    expect(secret).to_have_attribute("type", "password")
    secret.fill("s3cret")
    person.press("Save")
    person.sees("Block created successfully")
    saved = PostgresCluster.load("billing", _sync=True)  # the browser has this thread's event loop
    assert [(node.name, node.host, node.control.kind) for node in saved.nodes] == [("db1", "db1.internal", "local")]
    assert saved.password.get_secret_value() == "s3cret"
    person.page.reload()
    person.sees("billing", "********")
    assert "s3cret" not in person.page.content()


def test_a_cluster_that_is_half_described_is_refused_with_the_field(person: Person, ward: Ward) -> None:
    """Prefect saves a form without its required fields; a run on it says which one is missing."""
    person.open("blocks/catalog/salvor-postgres-cluster/create")
    person.sign_in()
    person.fill("Name", "half")
    person.press("Add item")
    person.page.get_by_label("Name", exact=True).nth(1).fill("db1")
    person.press("Save")
    person.sees("Block created successfully")
    run = ward.run("postgres-failover", {"dry_run": True}, target="half")
    assert run.outcome == Outcome.REFUSED
    assert "The block half is not filled in right (nodes.0.host: Field required" in run.why
