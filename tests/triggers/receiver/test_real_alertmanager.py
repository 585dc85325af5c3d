"""The real Alertmanager of Debian delivers to the real receiver: firing, repeated, resolved, and not stored."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from blocks.intake import Intake
from blocks.ledger import alerts
from blocks.ledger.block import Ledger
from blocks.prefect_api import PrefectApi
from flows.triggers.receiver.application import build
from tests.triggers.conftest import KNOWN, TOKEN, Recorder, Served, eventually

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
pytestmark = [
    pytest.mark.drill,
    pytest.mark.skipif(
        PROGRAM is None, reason="Alertmanager is not installed: apt-get install prometheus-alertmanager"
    ),
]
CONFIGURATION = """
route: {{receiver: salvor, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: salvor
    webhook_configs:
      - url: {url}/hooks/alertmanager
        send_resolved: true
        http_config: {{authorization: {{credentials: {token}}}}}
"""
LABELS = {"alertname": "PrimaryDown", "severity": "critical"}
NAMED = {"salvor_procedure": "postgres-failover", "salvor_target": "orders"}


@contextmanager
def alertmanager(folder: Path, url: str) -> Iterator[httpx.Client]:
    """An Alertmanager that sends to URL."""
    (folder / "alertmanager.yml").write_text(CONFIGURATION.format(url=url, token=TOKEN))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    command = [str(PROGRAM), f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data"]
    command += [f"--web.listen-address={place}", "--cluster.listen-address="]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            with httpx.Client(base_url=f"http://{place}") as client:
                eventually(lambda: answers(client), 20)
                yield client
        finally:
            process.kill()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").is_success
    except httpx.HTTPError:
        return False


def tell(client: httpx.Client, began: datetime, *, over: bool = False) -> None:
    """As Prometheus does: always with the time when it began, or Alertmanager makes one up that moves."""
    now = datetime.now(UTC)
    alert = {"labels": LABELS | NAMED, "annotations": {"summary": "orders takes no writes"}}
    alert |= {"startsAt": began.isoformat(), "endsAt": (now if over else now + timedelta(minutes=5)).isoformat()}
    client.post("/api/v2/alerts", json=[alert]).raise_for_status()


def test_an_alert_comes_and_goes(ledger: Ledger, intake: Intake, prefect: Recorder, tmp_path: Path) -> None:
    """Firing starts one recovery however often it is told; resolved ends it."""
    served = Served(build(ledger, intake, PrefectApi(prefect.url), KNOWN))
    with alertmanager(tmp_path, served.url) as client:
        began = datetime.now(UTC)
        for _ in range(3):
            tell(client, began)
        (fired,) = eventually(lambda: prefect.events, 20)
        assert fired["event"] == "alertmanager.alert.fired"
        assert fired["payload"]["reason"] == "PrimaryDown: orders takes no writes"
        tell(client, began, over=True)
        eventually(lambda: len(prefect.events) == 2, 20)
        assert prefect.events[1]["event"] == "alertmanager.alert.resolved"
        assert prefect.events[1]["payload"]["alert"] == fired["payload"]["alert"]
        assert alerts.is_resolved(ledger, fired["payload"]["alert"])
    served.close()


def test_an_alert_that_was_not_stored_is_sent_again(intake: Intake, prefect: Recorder, tmp_path: Path) -> None:
    """While the ledger is out of order the receiver answers 503, and Alertmanager comes back until it is stored."""
    ledger = Ledger(url=f"sqlite:///{tmp_path}/late.db")
    served = Served(build(ledger, intake, PrefectApi(prefect.url), KNOWN))
    with alertmanager(tmp_path, served.url) as client:
        tell(client, datetime.now(UTC))
        eventually(
            lambda: "503" in (tmp_path / "log").read_text() or "unexpected status" in (tmp_path / "log").read_text(), 20
        )
        assert prefect.events == []
        ledger.upgrade()
        eventually(lambda: prefect.events, 30)
    served.close()
