"""Patroni's REST API. Patroni decides and acts; Salvor asks, and says what Patroni answered in its own words."""

from __future__ import annotations

from typing import Any

import httpx
from prefect.blocks.core import Block
from pydantic import Field, SecretStr, field_validator

from blocks.addresses import AbsolutePath, HttpUrl
from blocks.errors import Ambiguous, Misconfigured, SalvorError, Transient
from blocks.postgres_refusal import without_secrets

_DENIED = {401, 403}
_ANSWER_CHARACTERS = 300


class PatroniRefused(SalvorError):  # noqa: N818 - named for what may have changed, as in errors.py
    """Patroni refused, and nothing was changed."""

    code = 52

    def __init__(self, message: str = "", status: int = 0) -> None:
        """Keep the HTTP status: 412 a precondition does not hold, 503 the move was tried and failed, ..."""
        super().__init__(message)
        self.status = status


class Patroni(Block):
    """The REST API of the Patroni that runs a cluster; the first node that answers is asked."""

    _block_type_name = "Salvor Patroni"
    _block_type_slug = "salvor-patroni"
    _description = "The REST API of a Patroni cluster: who leads, who may take over, and the order to do so."

    urls: list[HttpUrl] = Field(
        min_length=1,
        description="REST addresses of the nodes, e.g. http://db1:8008; any of them speaks for the cluster.",
    )
    username: str = Field(default="", description="User of restapi.authentication; empty when none is asked.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of that user.")
    ca_file: AbsolutePath | None = Field(
        default=None, description="Certificate authority of https addresses; empty: those of the system."
    )

    @field_validator("ca_file", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    def cluster(self, deadline: float = 2.0) -> dict[str, Any]:
        """Give the members with role, state, timeline and lag, as Patroni sees them."""
        return self._document("/cluster", deadline)

    def history(self, deadline: float = 2.0) -> list[Any]:
        """Give the timelines that were left, when and why."""
        return list(self._read("/history", deadline).json())

    def config(self, deadline: float = 2.0) -> dict[str, Any]:
        """Give the dynamic configuration: ttl, synchronous_mode, pause."""
        return self._document("/config", deadline)

    def is_primary(self, url: str, deadline: float = 2.0) -> bool:
        """Say whether the node at URL holds the leader lock and is writable."""
        return self._send("GET", url, "/primary", deadline).status_code == httpx.codes.OK

    def switchover(self, leader: str, candidate: str, deadline: float = 60.0) -> str:
        """Have Patroni hand over from LEADER to CANDIDATE; give its words."""
        return self._order("POST", "/switchover", {"leader": leader, "candidate": candidate}, deadline)

    def failover(self, candidate: str, deadline: float = 60.0) -> str:
        """Have Patroni promote CANDIDATE without a healthy leader, at the price of rows; give its words."""
        return self._order("POST", "/failover", {"candidate": candidate}, deadline)

    def set_pause(self, paused: bool, deadline: float = 5.0) -> str:
        """Put the cluster into maintenance, or end that; give Patroni's words."""
        return self._order("PATCH", "/config", {"pause": paused or None}, deadline)

    def _document(self, path: str, deadline: float) -> dict[str, Any]:
        found = self._read(path, deadline).json()
        if not isinstance(found, dict):
            raise Misconfigured(f"{self.urls[0]}{path} is not Patroni's: it answered {type(found).__name__}.")
        return found

    def _read(self, path: str, deadline: float) -> httpx.Response:
        problems = []
        for url in self.urls:
            try:
                answer = self._send("GET", url, path, deadline / len(self.urls))
            except Transient as error:
                problems.append(str(error))
                continue
            if answer.status_code == httpx.codes.OK:
                return answer
            problems.append(f"{url}{path} answered {_said(answer)}")
        raise Transient(f"No node's Patroni gave an answer: {'; '.join(problems)}")

    def _order(self, method: str, path: str, body: dict[str, Any], deadline: float) -> str:
        problems = []
        for url in self.urls:
            try:
                return _obeyed(self._send(method, url, path, deadline, body), url)
            except Transient as error:
                problems.append(str(error))  # it was not reached, so nothing was sent: the next one may be
        raise Transient(f"No node's Patroni was reached, nothing was ordered: {'; '.join(problems)}")

    def _send(
        self, method: str, url: str, path: str, deadline: float, body: dict[str, Any] | None = None
    ) -> httpx.Response:
        secret = self.password.get_secret_value()
        login = httpx.BasicAuth(self.username, secret) if self.username else None
        verify: Any = self.ca_file or True
        connect = min(2.0, deadline)
        try:
            with httpx.Client(auth=login, verify=verify, timeout=httpx.Timeout(deadline, connect=connect)) as client:
                return client.request(method, f"{url}{path}", json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Transient(f"Patroni at {url} was not reached ({_reason(error)})") from None
        except httpx.HTTPError as error:
            if body is None:
                raise Transient(f"Patroni at {url} gave no answer within {deadline:g} s ({_reason(error)})") from None
            raise Ambiguous(
                f"Patroni at {url} took {method} {path} but gave no answer ({_reason(error)}): it may be doing it. "
                "Look at GET /cluster before anything else."
            ) from None


def _obeyed(answer: httpx.Response, url: str) -> str:
    status = answer.status_code
    if status == httpx.codes.OK:
        return _said(answer)
    if status == httpx.codes.ACCEPTED:
        return _said(answer)
    said = f"Patroni at {url} answered {_said(answer)}"
    if status in _DENIED:
        raise Misconfigured(f"{said}: correct username and password of the Patroni block.")
    if status == httpx.codes.PRECONDITION_FAILED:
        raise PatroniRefused(f"{said}: it sees a reason against it, and nothing was changed.", status)
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        raise PatroniRefused(f"{said}: it did not come about. Look at GET /cluster.", status)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Ambiguous(f"{said}: it may have been begun. Look at GET /cluster.")
    raise PatroniRefused(f"{said}: nothing was changed.", status)


def _said(answer: httpx.Response) -> str:
    words = without_secrets(" ".join(answer.text.split()))[:_ANSWER_CHARACTERS]
    return f"{answer.status_code} {words}".strip()


def _reason(error: httpx.HTTPError) -> str:
    return without_secrets(str(error) or type(error).__name__)
