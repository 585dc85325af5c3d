"""A proposal as a person reads it, and as a rule pack takes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import yaml

from tasks.consistency.decide_suggest import Proposal, Proposed
from tasks.consistency.suggest_state import Passed, Survey

#: An artifact beyond 100 kB makes the UI slow; of that the rules may have so much.
RULES_BYTES = 70_000
LIMIT_BYTES = 95_000
_HEAD = """\
# Proposed by consistency-suggest. Every rule only reports. To repair what an orphan rule finds, write
# `repair: quarantine` or `repair: null` in place of `repair: report`, and `fence: true` to keep new ones out;
# for a sequence, `repair: advance`.
rules:
"""


def pack_of(rules: Sequence[Proposed], most_bytes: int = RULES_BYTES) -> str:
    """Write rules as YAML, each with what speaks for it; what does not fit is counted at the end."""
    if not rules:
        return ""
    parts, size = [_HEAD], len(_HEAD)
    for place, each in enumerate(rules):
        text = _rule(each)
        size += len(text.encode())
        if size > most_bytes:
            rest = (
                f"# {len(rules) - place:,} more do not fit in here: name some tables in the policy, and run this again."
            )
            return "".join([*parts, rest, "\n"])
        parts.append(text)
    return "".join(parts)


def _rule(proposed: Proposed) -> str:
    rule = proposed.rule
    first = ("name", "kind", "table")
    fields = {name: getattr(rule, name) for name in first}
    fields |= rule.model_dump(exclude={*first, "only", "fence"}, exclude_none=True)
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    body = yaml.safe_dump([plain], sort_keys=False, allow_unicode=True, width=1000)
    return f"  # {said(proposed.why)}\n" + "".join(f"  {line}\n" for line in body.splitlines())


def page_of(seen: Survey, proposal: Proposal) -> str:
    """Write what is proposed, and what is not and why, for the UI."""
    pack = pack_of(proposal.rules)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", pack)), default=0))
    head = (
        f"# Rules for {seen.target}\n\n{len(proposal.rules)} rules are proposed for the {seen.tables} tables of"
        f" {seen.schema_name} in {seen.where}, as of {seen.at:%Y-%m-%d %H:%M} UTC. Read them: a name can deceive. Then"
        f" paste the text into the field `rules` of a RulePack block named {seen.target}, and run consistency-check."
    )
    parts = [head, f"{fence}yaml\n{pack}{fence}" if pack else "There is nothing to propose."]
    room = LIMIT_BYTES - sum(len(part.encode()) for part in parts)
    return "\n\n".join([*parts, *_left(proposal.left, room)]) + "\n"


def _left(left: Iterable[Passed], room: int) -> list[str]:
    lines = [f"| {cell(each.table)} | {cell(each.column)} | {cell(each.why)} |" for each in left]
    if not lines:
        return []
    shown = ["## Not proposed", "", "| table | column | why not |", "| --- | --- | --- |"]
    for place, line in enumerate(lines):
        room -= len(line.encode()) + 1
        if room < 1000:  # noqa: PLR2004 - enough for the headings and the last line
            shown.append(f"\n{len(lines) - place:,} more do not fit in here.")
            break
        shown.append(line)
    return ["\n".join(shown)]


def said(text: str) -> str:
    """Keep to one line what holds names that somebody else chose."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def cell(text: str) -> str:
    """Keep it within a cell of a table."""
    return said(text).replace("|", "\\|").replace("`", "'")
