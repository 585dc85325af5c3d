"""How the outside world tells the receiver of a control plane that a primary is down."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from flows.triggers.plane.plane import Plane
from tests.lab.ports import free_ports
from tests.lab.processes import wait_until

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CONFIGURATION = """
route: {{receiver: salvor, group_by: [alertname, salvor_target], group_wait: 0s, group_interval: 1s}}
receivers:
  - name: salvor
    webhook_configs:
      - url: {url}/hooks/alertmanager
        http_config: {{authorization: {{credentials: {token}}}}}
"""


def labels(target: str) -> dict[str, str]:
    """Return what a rule of Prometheus puts on the alert."""
    named = {"salvor_procedure": "postgres-failover", "salvor_target": target}
    return {"alertname": "PrimaryDown", "severity": "critical", **named}


def delivery(target: str, began: datetime, **more: Any) -> dict[str, Any]:
    """Return a group of one alert, as Alertmanager and Grafana send it."""
    alert = {
        "status": "firing",
        "labels": labels(target),
        "annotations": {"summary": "takes no writes"},
        "startsAt": began.isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": f"{target}-down",
    }
    return {"status": "firing", "receiver": "salvor", "alerts": [alert], **more}


def tell(plane: Plane, path: str, body: dict[str, Any]) -> httpx.Response:
    """Post BODY to the receiver."""
    token = {"Authorization": f"Bearer {plane.receiver_token}"}
    return httpx.post(f"{plane.receiver_url}{path}", json=body, headers=token, timeout=10).raise_for_status()


class Alertmanager:
    """A real Alertmanager that sends to a control plane."""

    def __init__(self, url: str) -> None:
        """Speak to it at URL."""
        self.url = url

    def post(self, target: str, began: datetime, *, over: bool = False) -> None:
        """Say that the primary of TARGET is down, as Prometheus does; or that this is OVER."""
        now = datetime.now(UTC)
        alert = {"labels": labels(target), "annotations": {"summary": "takes no writes"}}
        alert |= {"startsAt": began.isoformat(), "endsAt": (now if over else now + timedelta(minutes=5)).isoformat()}
        httpx.post(f"{self.url}/api/v2/alerts", json=[alert], timeout=10).raise_for_status()

    def ready(self) -> bool:
        """Whether it takes alerts."""
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=2).is_success
        except httpx.HTTPError:
            return False


@contextmanager
def alertmanager(plane: Plane, folder: Path) -> Iterator[Alertmanager]:
    """Run Alertmanager with its files in FOLDER, told of the receiver of PLANE and its token."""
    (folder / "alertmanager.yml").write_text(CONFIGURATION.format(url=plane.receiver_url, token=plane.receiver_token))
    place = f"127.0.0.1:{free_ports(1)[0]}"
    command = [str(ALERTMANAGER), f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data"]
    command += [f"--web.listen-address={place}", "--cluster.listen-address="]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as process:
        try:
            it = Alertmanager(f"http://{place}")
            wait_until(it.ready, 20, "Alertmanager to be ready")
            yield it
        finally:
            process.kill()
