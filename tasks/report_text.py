"""The report as a tired person reads it: the outcome first, then what was lost, then the proof. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from tasks.model import Evidence, Frozen, Outcome, Plan, Report, Step

LIMIT_BYTES = 95_000  # an artifact beyond 100 kB makes the UI slow
CELL_CHARACTERS = 600
SAID_ALREADY = {
    "resource",
    "key",
    "once",
    "why",
    "loss",
    "ask",
}  #: of a plan: in its sentences, or of no use to a person

DRY_RUN = "Nothing was changed: this was a dry run. With dry_run off it is done."
MEANING = {
    Outcome.RECOVERED: "Nothing is urgent: everything that was promised was seen to hold.",
    Outcome.NOTHING_TO_DO: "Nothing had to be done, and nothing was changed.",
    Outcome.REFUSED: "Nothing was changed. Read the sentence above, mend what it names, then run this again.",
    Outcome.UNVERIFIED: "Not everything that was promised could be seen to hold. Look at the lines marked **NO**.",
    Outcome.NEEDS_HUMAN: "Look now: something was begun and it is not known where it stopped."
    " The timeline shows the last step. Running this again is safe: it looks at the world first.",
}


class Facts(Frozen):
    """Who ran what, where and when."""

    procedure: str
    target: str
    started_at: datetime
    ended_at: datetime
    requested_by: str = ""
    approved_by: str = ""
    reason: str = ""
    alert: str = ""
    attempt: int = 1
    dry_run: bool = False
    url: str = ""
    seal: str = ""  #: of the report, see `Report.seal`


def render(report: Report, facts: Facts) -> str:
    """Write the report as Markdown, always below the size that the UI can bear."""
    whole = _page(report, facts, steps=len(report.timeline), plan=True)
    if len(whole.encode()) <= LIMIT_BYTES:
        return whole
    short = _page(report, facts, steps=40, plan=False)
    return short.encode()[:LIMIT_BYTES].decode(errors="ignore") + "\n\n*Cut here: the ledger holds the whole report.*\n"


def _page(report: Report, facts: Facts, *, steps: int, plan: bool) -> str:
    parts = [_top(report, facts), _lost(report.plan), _evidence(report.evidence)]
    parts += [_timeline(report.timeline[:steps], facts.started_at), _figures(report.figures)]
    parts += [_unchecked((*report.unverified, *_next(report.look_at))), _circumstances(facts)]
    if plan:
        parts.append(_plan(report.plan))
    return "\n\n".join(part for part in parts if part) + "\n"


def _top(report: Report, facts: Facts) -> str:
    outcome = report.outcome or Outcome.NEEDS_HUMAN
    dry = " (dry run)" if facts.dry_run else ""
    meaning = DRY_RUN if facts.dry_run and report.timeline else MEANING[outcome]
    seconds = (facts.ended_at - facts.started_at).total_seconds()
    return (
        f"# {outcome}: {facts.procedure} on {facts.target}{dry}\n\n**{_line(report.why)}**\n\n"
        f"{meaning}\n\nIt took {seconds:.1f} s, from {_moment(facts.started_at)} to {_moment(facts.ended_at)}."
    )


def _lost(plan: Plan | None) -> str:
    return f"## What is lost\n\n{plan.loss}" if plan is not None and plan.loss else ""


def _evidence(evidence: Iterable[Evidence]) -> str:
    rows = [("yes" if e.holds else "**NO**", e.claim, e.seen) for e in evidence]
    return f"## Evidence\n\n{_table(('holds', 'claim', 'seen'), rows)}" if rows else ""


def _timeline(steps: Iterable[Step], start: datetime) -> str:
    rows = [(f"{s.started_at:%H:%M:%S.%f}"[:-3], _after(s, start), s.sentence, _result(s)) for s in steps]
    return f"## Timeline (UTC)\n\n{_table(('time', 'seconds', 'what', 'result'), rows)}" if rows else ""


def _after(step: Step, start: datetime) -> str:
    seconds = (step.started_at - start).total_seconds()
    return f"+{seconds:.2f}" if seconds >= 0 else f"{seconds:.0f}, an earlier run"


def _result(step: Step) -> str:
    if step.dry:
        return "dry run, not done"
    if step.error:
        return f"**failed:** {step.error}"
    if step.seconds is None:
        return "**no end is known: the process died in it**"
    return f"{step.found} ({step.seconds:.2f} s)".strip()


def _figures(figures: dict[str, float]) -> str:
    rows = [(name.replace("_", " "), f"{value:,.3f}".rstrip("0").rstrip(".")) for name, value in figures.items()]
    return f"## Figures\n\n{_table(('figure', 'value'), rows)}" if rows else ""


def _unchecked(unverified: Iterable[str]) -> str:
    lines = "\n".join(f"- {_line(each)}" for each in unverified)
    return f"## What is left to do, or was not checked\n\n{lines}" if lines else ""


def _next(databases: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"consistency-check looks at the rows of {each} now: read how it ended." for each in databases)


def _circumstances(facts: Facts) -> str:
    rows = [("asked for by", facts.requested_by), ("approved by", facts.approved_by)]
    rows += [("reason", facts.reason), ("alert", facts.alert)]
    rows += [("attempt", str(facts.attempt) if facts.attempt > 1 else ""), ("run", facts.url)]
    rows += [("SHA-256 of this report's JSON in the ledger", facts.seal)]
    known = [row for row in rows if row[1]]
    return f"## Circumstances\n\n{_table(('what', 'is'), known)}" if known else ""


def _plan(plan: Plan | None) -> str:
    if plan is None:
        return ""
    content = json.dumps(plan.model_dump(mode="json"), indent=2, ensure_ascii=False)
    return _folded(f"The plan ({plan.digest})", f"{plan.why}\n\n```json\n{content}\n```")


def _folded(title: str, content: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{content}\n\n</details>"


def plan_text(plan: Plan) -> str:
    """Say what a person is asked to approve."""
    ask = plan.ask or "the policy of this run wants it"
    return f"## {plan.why}\n\n**What will be lost:** {plan.loss}\n\n**Why a person is asked:** {ask.rstrip('.')}."


def plan_details(plan: Plan) -> str:
    """Lay out what a plan says beyond its sentences."""
    content = plan.model_dump(mode="json", exclude=SAID_ALREADY)
    rows = [(name.replace("_", " "), _plain(value)) for name, value in content.items() if value not in ("", None, [])]
    return _folded("The plan in full", _table(("what", "is"), rows)) if rows else ""


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(" by ".join(map(str, each)) if isinstance(each, list) else str(each) for each in value)
    return str(value)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_line(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _line(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return flat if len(flat) <= CELL_CHARACTERS else flat[:CELL_CHARACTERS] + " …"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
