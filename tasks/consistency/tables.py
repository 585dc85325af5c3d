"""The tables in which a look is read: what is wrong now, and how it was before. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.ledger.findings import Examination
from tasks.consistency.state import Seen

ROWS = 200


def rows_of(seen: Seen) -> list[dict[str, str]]:
    """Show the first wrong rows of every rule, what cannot be looked at first."""
    unseen = [{"rule": each.rule, "table": each.table, "row": f"NOT LOOKED AT: {each.unseen}"} for each in seen.unseen]
    wrong = [{"rule": each.rule, "table": each.table, "row": sample} for each in seen.broken for sample in each.samples]
    return (unseen + wrong)[:ROWS]


def history_of(looks: Sequence[Examination]) -> list[dict[str, str]]:
    """Show one line for each look, the newest first, and what changed since the look before."""
    by_run: dict[str, dict[str, Examination]] = {}
    for each in looks:
        by_run.setdefault(each.run_id, {})[each.rule] = each
    runs = list(by_run.values())
    return [_line(run, older) for run, older in zip(runs, [*runs[1:], None], strict=True)]


def _line(run: dict[str, Examination], older: dict[str, Examination] | None) -> dict[str, str]:
    first = next(iter(run.values()))
    broken = [each for each in run.values() if each.found]
    unseen = [each for each in run.values() if each.found is None]
    wrong = sum(each.found or 0 for each in broken)
    return {
        "when (UTC)": f"{first.at:%Y-%m-%d %H:%M}",
        "verdict": "ok" if not broken and not unseen else f"{len(broken)} broken" if broken else "not all seen",
        "wrong rows": f"{wrong:,}",
        "since the look before": _change(wrong, older),
        "broken": "; ".join(f"{each.rule}: {each.found:,}" for each in broken) or "-",
        "not looked at": "; ".join(each.rule for each in unseen) or "-",
        "rules": str(len(run)),
        "seconds": f"{sum(each.seconds for each in run.values()):.1f}",
    }


def _change(wrong: int, older: dict[str, Examination] | None) -> str:
    if older is None:
        return "-"
    difference = wrong - sum(each.found or 0 for each in older.values())
    return f"{difference:+,}" if difference else "the same"
