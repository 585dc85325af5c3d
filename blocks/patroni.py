"""Patroni's REST API. Patroni decides and acts; Salvor asks, and says what Patroni answered in its own words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from blocks.errors import Ambiguous, Misconfigured, SalvorError, Transient
from blocks.node_control import PatroniControl
from blocks.postgres_refusal import without_secrets

_WORDS = 300  # characters of an answer that are worth quoting
_CONNECT_SECONDS = 2.0
_DEFAULT_TTL = 30.0
# Patroni's 503 means "did not come about" as well as "I stopped watching"; only its words tell which.
_UNSURE = ("status unknown", "failed to write")


class PatroniRefused(SalvorError):  # noqa: N818 - named for what may have changed, as in errors.py
    """Patroni refused, and nothing was changed."""

    code = 52

    def __init__(self, message: str = "", status: int = 0) -> None:
        """Keep the HTTP status: 412 a precondition does not hold, 503 the move was tried and did not come about."""
        super().__init__(message)
        self.status = status


class PatroniMember(BaseModel):
    """One member as Patroni sees it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    role: str
    state: str
    host: str = ""
    port: int = 0
    timeline: int | None = None
    lag: int | None = None  #: bytes behind the leader; None for the leader, and when Patroni does not know
    tags: dict[str, Any] = Field(default_factory=dict)

    @field_validator("lag", mode="before")
    @classmethod
    def _unknown_is_none(cls, value: object) -> object:
        return None if value == "unknown" else value


class PatroniCluster(BaseModel):
    """What GET /cluster says."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    members: tuple[PatroniMember, ...]
    pause: bool = False
    scheduled_switchover: dict[str, Any] | None = None


@dataclass(frozen=True)
class Patroni:
    """The REST API of one member; any member speaks for the whole cluster."""

    url: str
    username: str = ""
    password: SecretStr = field(default_factory=lambda: SecretStr(""))
    ca_file: str = ""

    @classmethod
    def of(cls, control: PatroniControl) -> Self:
        """Reach the member that CONTROL is about."""
        return cls(control.url, control.username, control.password, control.ca_file)

    def cluster(self, deadline: float = 2.0) -> PatroniCluster:
        """Give the members with role, state, timeline and lag."""
        try:
            return PatroniCluster.model_validate(self._read("/cluster", deadline))
        except ValidationError:
            raise Misconfigured(f"{self.url}/cluster answered, but not as Patroni does: correct the url.") from None

    def config(self, deadline: float = 2.0) -> dict[str, Any]:
        """Give the dynamic configuration: ttl, synchronous_mode, pause."""
        found = self._read("/config", deadline)
        if not isinstance(found, dict):
            raise Misconfigured(f"{self.url}/config answered, but not as Patroni does: correct the url.")
        return found

    def ttl_seconds(self, deadline: float = 2.0) -> float:
        """Give the seconds after which a leader that has gone loses its lock."""
        return float(self.config(deadline).get("ttl", _DEFAULT_TTL))

    def history(self, deadline: float = 2.0) -> list[list[Any]]:
        """Give every timeline that was left: number, LSN, why, when, who led then."""
        return [list(entry) for entry in self._read("/history", deadline)]

    def is_primary(self, deadline: float = 2.0) -> bool:
        """Say whether this member holds the leader's lock and takes writes."""
        return self._send("GET", "/primary", deadline).status_code == httpx.codes.OK

    def switchover(self, leader: str, candidate: str, deadline: float = 60.0) -> str:
        """Have Patroni hand over from LEADER to CANDIDATE without loss; give its words."""
        return self._order("POST", "/switchover", {"leader": leader, "candidate": candidate}, deadline)

    def failover(self, candidate: str, deadline: float = 60.0) -> str:
        """Have Patroni promote CANDIDATE without a healthy leader, at the price of rows; give its words."""
        return self._order("POST", "/failover", {"candidate": candidate}, deadline)

    def set_pause(self, paused: bool, deadline: float = 5.0) -> str:
        """Put the cluster into maintenance, or end that; give Patroni's words."""
        return self._order("PATCH", "/config", {"pause": paused or None}, deadline)

    def _read(self, path: str, deadline: float) -> Any:  # noqa: ANN401 - a JSON document
        answer = self._send("GET", path, deadline)
        if answer.status_code != httpx.codes.OK:
            raise Transient(f"Patroni at {self.url} answered {path} with {_said(answer)}.")
        try:
            return answer.json()
        except ValueError:
            raise Misconfigured(f"{self.url}{path} answered, but not as Patroni does: correct the url.") from None

    def _order(self, method: str, path: str, body: dict[str, Any], deadline: float) -> str:
        return _obeyed(self._send(method, path, deadline, body), self.url)

    def _send(self, method: str, path: str, deadline: float, body: dict[str, Any] | None = None) -> httpx.Response:
        secret = self.password.get_secret_value()
        login = httpx.BasicAuth(self.username, secret) if self.username else None
        limit = httpx.Timeout(deadline, connect=min(_CONNECT_SECONDS, deadline))
        verify: Any = self.ca_file or True
        try:
            with httpx.Client(auth=login, verify=verify, timeout=limit, trust_env=False) as client:
                return client.request(method, f"{self.url}{path}", json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Transient(f"Patroni at {self.url} was not reached ({_reason(error)}): nothing was sent.") from None
        except httpx.HTTPError as error:
            if body is None:
                raise Transient(f"Patroni at {self.url} gave no answer to {path} ({_reason(error)}).") from None
            raise Ambiguous(
                f"Patroni at {self.url} took {method} {path} but gave no answer ({_reason(error)}): "
                "it may be doing it. Look at GET /cluster before anything else."
            ) from None


def _obeyed(answer: httpx.Response, url: str) -> str:
    status, said = answer.status_code, f"Patroni at {url} answered {_said(answer)}"
    if status in {httpx.codes.OK, httpx.codes.ACCEPTED}:
        return _said(answer)
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise Misconfigured(f"{said}: correct username and password of the node's Patroni control.")
    if status == httpx.codes.PRECONDITION_FAILED:
        raise PatroniRefused(f"{said}: it sees a reason against it, and nothing was changed.", status)
    if status == httpx.codes.SERVICE_UNAVAILABLE and not any(words in answer.text for words in _UNSURE):
        raise PatroniRefused(f"{said}: it did not come about. Look at GET /cluster.", status)
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise Ambiguous(f"{said}: it may have been begun. Look at GET /cluster.")
    raise PatroniRefused(f"{said}: nothing was changed.", status)


def _said(answer: httpx.Response) -> str:
    words = without_secrets(" ".join(answer.text.split()))[:_WORDS]
    return f"{answer.status_code} {words}".strip()


def _reason(error: httpx.HTTPError) -> str:
    return without_secrets(str(error) or type(error).__name__)
