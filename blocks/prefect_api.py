"""The few calls that the receiver and the sentinel make to the Prefect server, on one warm connection."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import httpx
from prefect.settings import get_current_settings
from pydantic import SecretStr

from blocks.errors import Misconfigured, Transient

SECONDS = 5.0
PAGE = 200
CANCELLED = {"type": "CANCELLED", "name": "Cancelled", "message": "The alert was resolved before this began."}


class PrefectApi:
    """Posts events and cancels runs that have not begun."""

    def __init__(self, url: str, auth_string: str = "") -> None:
        """Reach the API at URL (ends in /api); AUTH_STRING is `user:password` when the server wants one."""
        user, _, password = auth_string.partition(":")
        self._http = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            auth=httpx.BasicAuth(user, password) if auth_string else None,
            timeout=SECONDS,
            limits=httpx.Limits(keepalive_expiry=None),
        )
        self.url = url

    @classmethod
    def configured(cls) -> Self:
        """Use PREFECT_API_URL and PREFECT_API_AUTH_STRING, from the environment or the Prefect profile."""
        api = get_current_settings().api
        if not api.url:
            raise Misconfigured("PREFECT_API_URL is not set: `prefect config set PREFECT_API_URL=http://.../api`.")
        return cls(api.url, api.auth_string.get_secret_value() if isinstance(api.auth_string, SecretStr) else "")

    async def __aenter__(self) -> Self:
        """Use the connection for a while."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def warm(self) -> None:
        """Open the connection before it is needed; whether somebody answers does not matter yet."""
        try:
            await self._http.get("health")
        except httpx.HTTPError:
            return

    async def post_event(self, body: dict[str, Any]) -> None:
        """Send one event; the same id sent twice starts nothing twice."""
        await self._post("events", [body])

    async def cancel_unbegun(self, alert: str) -> list[str]:
        """Cancel the runs that ALERT caused and that no worker has begun; return their names."""
        cancelled = []
        for run in await self._unbegun():
            if run.get("parameters", {}).get("alert") == alert:
                await self._post(f"flow_runs/{run['id']}/set_state", {"state": CANCELLED})
                cancelled.append(str(run["name"]))
        return cancelled

    async def _unbegun(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        question = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}}, "limit": PAGE}
        while True:
            page = await self._post("flow_runs/filter", question | {"offset": len(found)})
            found += page
            if len(page) < PAGE:
                return found

    async def _post(self, path: str, body: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
        try:
            answer = await self._http.post(path, json=body)
        except httpx.HTTPError as error:
            raise Transient(f"Prefect at {self.url} did not answer ({type(error).__name__}).") from error
        if answer.status_code in {401, 403}:
            raise Misconfigured(f"Prefect at {self.url} does not let us in: set PREFECT_API_AUTH_STRING.")
        if answer.status_code >= 400:  # noqa: PLR2004 - HTTP's line between fine and not
            raise Transient(f"Prefect at {self.url} answered {answer.status_code}: {answer.text[:200]}")
        return answer.json() if answer.content else None
