"""The only two retry policies. A read may be repeated freely; an act never is."""

from __future__ import annotations

from typing import Any

from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from blocks.errors import Transient


def unanswered(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry only what says of itself that nothing was changed and asking again may help."""
    return isinstance(state.result(raise_on_failure=False), Transient)


# Waits of 2, 4, 6, 8 and 10 seconds suit a thing that is coming back; a probe that looks at what is
# down answers "unknown" instead of raising, so none of this delays a failover.
READ: dict[str, Any] = {
    "retries": 5,
    "retry_delay_seconds": [2, 4, 6, 8, 10],
    "retry_jitter_factor": 0.3,
    "retry_condition_fn": unanswered,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
ACT: dict[str, Any] = {"retries": 0, "cache_policy": NO_CACHE, "persist_result": False}
