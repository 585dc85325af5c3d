"""Who may come in: tokens, signatures and the replay window. Pure: the time enters as data.

`/hooks/generic` is signed like this (headers X-Salvor-Timestamp and X-Salvor-Signature):

    timestamp=$(date +%s)
    signature=$(printf '%s.%s' "$timestamp" "$body" | openssl dgst -sha256 -hmac "$secret" -hex | sed 's/^.* //')
    curl -H "X-Salvor-Timestamp: $timestamp" -H "X-Salvor-Signature: v1=$signature" --data-raw "$body" ...

Several signatures, separated by commas, are taken while a secret is being changed: one valid one is enough.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping

GENERIC_TIMESTAMP = "x-salvor-timestamp"
GENERIC_SIGNATURE = "x-salvor-signature"
PAGERDUTY_SIGNATURE = "x-pagerduty-signature"
GRAFANA_SIGNATURE = "x-grafana-alerting-signature"
GRAFANA_TIMESTAMP = "x-grafana-alerting-timestamp"
REPLAY_SECONDS = 300
#: More are not looked at: every one costs two hashes.
MOST_SIGNATURES = 10


def sign(secret: str, message: bytes) -> str:
    """Return the HMAC-SHA256 of MESSAGE as lower-case hex."""
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def known_token(header: str, tokens: Iterable[str]) -> bool:
    """Whether HEADER (`Bearer <token>`) carries one of TOKENS; every token is compared, each in constant time."""
    scheme, _, given = header.partition(" ")
    matches = [hmac.compare_digest(given.strip().encode(), t.encode()) for t in tokens if t]
    return scheme.lower() == "bearer" and any(matches)


def known_signature(given: Iterable[str], secrets: Iterable[str], message: bytes) -> bool:
    """Whether one of the GIVEN signatures was made with one of SECRETS; all pairs are compared in constant time."""
    expected = [sign(s, message).encode() for s in secrets if s]
    candidates = [g.strip().lower().encode() for g in given][:MOST_SIGNATURES]
    return any([hmac.compare_digest(g, e) for g in candidates for e in expected])  # noqa: C419 - no early end


def versioned(header: str) -> list[str]:
    """Return the v1 signatures of a header like `v1=abc,v1=def`; other versions are left out."""
    parts = [p.strip() for p in header.split(",")]
    return [p.removeprefix("v1=") for p in parts if p.startswith("v1=")]


def stale(timestamp: str, now: float) -> str:
    """Say why a signed TIMESTAMP is not taken; empty when it lies within the replay window."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):  # noqa: PLR2004 - the year 33658
        return "The timestamp must be the time in whole seconds since 1970."
    age = now - int(timestamp)
    if abs(age) > REPLAY_SECONDS:
        where = "old" if age > 0 else "ahead"
        return f"The timestamp is {abs(age):.0f} s {where}; at most {REPLAY_SECONDS} s is taken: set your clock."
    return ""


def judge_generic(headers: Mapping[str, str], body: bytes, secrets: list[str], now: float) -> str:
    """Say why a call of /hooks/generic is not let in; empty when it is."""
    if not secrets:
        return "No secret is set for this route: add one to `generic_secrets` of the Intake block."
    timestamp = headers.get(GENERIC_TIMESTAMP, "")
    if why := stale(timestamp, now):
        return why
    message = timestamp.encode() + b"." + body
    if known_signature(versioned(headers.get(GENERIC_SIGNATURE, "")), secrets, message):
        return ""
    return "The signature does not fit: HMAC-SHA256 over `<timestamp>.<body>`, sent as X-Salvor-Signature: v1=<hex>."


def judge_pagerduty(headers: Mapping[str, str], body: bytes, secrets: list[str], _now: float) -> str:
    """Say why a call of /hooks/pagerduty is not let in; it signs no time, so a repetition is merely counted."""
    if not secrets:
        return "No secret is set for this route: add the subscription's to `pagerduty_secrets` of the Intake block."
    if known_signature(versioned(headers.get(PAGERDUTY_SIGNATURE, "")), secrets, body):
        return ""
    return "X-PagerDuty-Signature does not fit any secret of the Intake block."


def judge_grafana(headers: Mapping[str, str], body: bytes, secrets: list[str], now: float) -> str:
    """Say why a signed call of /hooks/grafana is not let in; empty when it is."""
    timestamp = headers.get(GRAFANA_TIMESTAMP)
    if timestamp is not None and (why := stale(timestamp, now)):
        return why
    # Grafana signs `<timestamp>:<body>` when its contact point names a timestamp header, else the body alone.
    message = body if timestamp is None else timestamp.encode() + b":" + body
    if known_signature([headers.get(GRAFANA_SIGNATURE, "")], secrets, message):
        return ""
    return "X-Grafana-Alerting-Signature does not fit any secret of the Intake block."
