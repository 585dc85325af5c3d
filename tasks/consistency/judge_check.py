"""Whether the rules hold, and whether anything of it is new. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.consistency.state import Finding, Seen, counted
from tasks.model import Evidence


def judge_rules(seen: Seen) -> tuple[Evidence, ...]:
    """Each rule is a promise."""
    return tuple(Evidence(claim=f"no {each.rule}", seen=_seen(each), holds=each.holds) for each in seen.findings)


def _seen(finding: Finding) -> str:
    if finding.unseen:
        return f"could not be looked at: {finding.unseen}"
    if not finding.found:
        return "none"
    return f"{finding.found:,}, e.g. {finding.samples[0]}" if finding.samples else f"{finding.found:,}"


def sum_up(seen: Seen) -> str:
    """Say it in a sentence or two."""
    parts = []
    if broken := seen.broken:
        parts.append(f"{len(broken)} of {len(seen.findings)} rules are broken: {counted(broken)}.")
    if unseen := seen.unseen:
        names = ", ".join(each.rule for each in unseen)
        parts.append(f"{len(unseen)} could not be looked at: {names}.")
    return " ".join(parts) or f"All {len(seen.findings)} rules hold."


def grown(seen: Seen, before: Mapping[str, int | None]) -> bool:
    """Whether more rows are wrong than BEFORE, or a rule cannot be looked at that could; None: it could not then."""
    for each in seen.findings:
        last = before.get(each.rule, 0)
        if each.unseen and (last is not None):
            return True
        if each.found > (last or 0):
            return True
    return False


def figures_of(seen: Seen) -> dict[str, float]:
    """Give what was measured."""
    return {
        "rules": len(seen.findings),
        "wrong_rows": sum(each.found for each in seen.findings),
        "look_seconds": round(sum(each.seconds for each in seen.findings), 3),
    }


def unlooked(seen: Seen) -> tuple[str, ...]:
    """Say what was not looked at."""
    said = [f"{each.rule}: {each.unseen}" for each in seen.unseen]
    return (*said, f"Only what the {len(seen.findings)} rules speak of was looked at, as of {seen.at:%H:%M:%S} UTC.")
