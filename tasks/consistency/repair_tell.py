"""Show a plan so that a tired person can judge it."""

from __future__ import annotations

from tasks.consistency.repair_state import PlannedRule, RepairPlan
from tasks.consistency.state import Finding
from tasks.model import Decision
from tasks.report import artifact_key, publish_table


def tell_plan(decision: Decision[RepairPlan], target: str, findings: tuple[Finding, ...]) -> None:
    """Show what would be changed rule by rule, and below it what is only reported."""
    rows = [_planned(each) for each in decision.plan.rules] if decision.plan else []
    planned = {each["rule"] for each in rows}
    rows += [_reported(each) for each in findings if each.rule not in planned and not each.holds]
    if rows:
        publish_table(
            artifact_key("consistency", target, "plan"), rows, f"What consistency-repair would do on {target}"
        )


def _planned(each: PlannedRule) -> dict[str, str]:
    followers = f" + {each.followers:,} that follow" if each.followers else ""
    share = f" ({each.share:.2%} of the table)" if each.share else ""
    return {  # the first columns are those that are seen without scrolling
        "rule": each.rule,
        "rows": f"{each.rows:,}{followers}{share}",
        "what is done": each.does,
        "to know": " ".join(each.notes) or "-",
        "examples": " · ".join(each.samples) or "-",
        "about": f"{each.seconds:,.0f} s, {each.wal_mb:,.0f} MB of WAL",
        "kept out from then on by": each.fence or "-",
    }


def _reported(each: Finding) -> dict[str, str]:
    return {
        "rule": each.rule,
        "rows": "not looked at" if each.unseen else f"{each.found:,}",
        "what is done": "nothing: it is only reported" if each.repair == "report" else "nothing",
        "to know": " ".join(each.notes) or "-",
        "examples": each.unseen or " · ".join(each.samples[:5]),
        "about": "-",
        "kept out from then on by": "-",
    }
