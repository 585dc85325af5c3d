"""What a run tells people while it goes on and when it has ended. Nothing here may fail or delay a recovery."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextvars import copy_context
from threading import Event, Thread
from uuid import UUID

from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import MissingContextError
from prefect.logging import get_run_logger
from prefect.utilities.urls import url_for

from tasks.report_text import plan_details, plan_text, render

__all__ = [
    "Progress",
    "artifact_key",
    "log",
    "plan_details",
    "plan_text",
    "publish",
    "publish_table",
    "render",
    "run_url",
]

#: Between two updates of the progress bar; the recovery itself needs the processor more.
PAUSE_SECONDS = 0.5
DRAIN_SECONDS = 5.0


def log(sentence: str, *, warn: bool = False) -> None:
    """Say something in the run's log, or in the process's own when no run is going on."""
    level = logging.WARNING if warn else logging.INFO
    try:
        get_run_logger().log(level, "%s", sentence)
    except MissingContextError:
        logging.getLogger("salvor").log(level, "%s", sentence)


def run_url(flow_run_id: str) -> str:
    """Give the address of a run in the UI; empty when no UI address is set."""
    try:
        return url_for("flow-run", UUID(flow_run_id)) or ""
    except ValueError:
        return ""


def artifact_key(*parts: str) -> str:
    """Make a key that Prefect takes: lowercase letters, digits and dashes."""
    words = "-".join("all" if part == "*" else part for part in parts).lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


class Progress:
    """One progress bar per run, kept up to date by a thread of its own."""

    def __init__(self, procedure: str, target: str) -> None:
        """Show nothing yet."""
        self._key = artifact_key(procedure, target, "progress")
        self._latest: tuple[str, float] | None = None
        self._news, self._over = Event(), Event()
        self._thread: Thread | None = None
        self._artifact: UUID | None = None

    def say(self, sentence: str, percent: float) -> None:
        """Show SENTENCE soon; returns at once. The bar never goes back: a second look is no step back."""
        shown = self._latest[1] if self._latest else 0.0
        self._latest = (sentence, max(shown, min(percent, 95.0)))
        self._news.set()
        if self._thread is None:
            context = copy_context()
            self._thread = Thread(target=lambda: context.run(self._show), name="progress", daemon=True)
            self._thread.start()

    def finish(self, sentence: str) -> None:
        """Show the last sentence, and wait a moment for it to be shown."""
        if self._thread is None:
            return
        self._latest = (sentence, 100.0)
        self._over.set()
        self._news.set()
        self._thread.join(timeout=DRAIN_SECONDS)

    def _show(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            self._news.wait()
            self._update()
        self._update()

    def _update(self) -> None:
        self._news.clear()
        if self._latest is None:
            return
        sentence, percent = self._latest
        try:
            if self._artifact is None:
                self._artifact = create_progress_artifact(percent, key=self._key, description=sentence)  # type: ignore[assignment]  # not a coroutine here
            else:
                update_progress_artifact(self._artifact, percent, description=sentence)
        except Exception:  # a progress bar may never disturb a recovery
            logging.getLogger("salvor").debug("The progress bar could not be updated.", exc_info=True)


def publish(key: str, markdown: str, description: str) -> bool:
    """Write the report artifact; False when Prefect did not take it in time (the sweep writes it later)."""
    return _in_time(lambda: create_markdown_artifact(markdown, key=key, description=description))


def publish_table(key: str, rows: list[dict[str, str]], description: str) -> bool:
    """Write a table artifact; the caller sees to it that it is short. False when Prefect did not take it in time."""
    return _in_time(lambda: create_table_artifact(rows, key=key, description=description))


def _in_time(work: Callable[[], object]) -> bool:
    done, context = Event(), copy_context()

    def run() -> None:
        try:
            context.run(work)
        except Exception as error:  # noqa: BLE001  # whatever Prefect's client raises: the ledger has the report
            log(f"The report could not be shown in Prefect, the sweep will do it: {error}", warn=True)
        else:
            done.set()

    thread = Thread(target=run, name="report", daemon=True)
    thread.start()
    thread.join(timeout=DRAIN_SECONDS)
    return done.is_set()
