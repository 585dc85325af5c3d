"""What is practised in the scratch folder. Pure."""

from __future__ import annotations

from tasks.backups.aims import aimed, why_not
from tasks.backups.decide_dump import dumped, from_dump
from tasks.backups.decide_restore import planned, surveyed, unfit
from tasks.backups.policies import DrillPolicy
from tasks.backups.state import Place, RestorePlan, View
from tasks.backups.survey import Survey
from tasks.model import Decision


def decide_drill(view: View, policy: DrillPolicy, place: Place) -> Decision[RestorePlan]:
    """Decide which set, or which logical copy, is practised with in the scratch folder PLACE."""
    if policy.what == "dump":
        return _dump(view, policy, place)
    made = surveyed(view, policy)
    if isinstance(made, str):
        return Decision.refuse(made)
    if wrong := unfit(place, made):
        return Decision.refuse(wrong)
    aim = aimed(view, policy, made, accept_hole=False)
    if isinstance(aim, str):
        return Decision.refuse(aim)
    plan = planned(view, policy, made, place, aim)
    return Decision.go(
        RestorePlan(
            **plan
            | {
                "resource": f"recovery.drill.{view.target}",
                "why": f"Practise in the scratch folder the recovery from {made.first.id} to {aim.said}.",
                "loss": "Nothing: production is not touched, and the repository is only read.",
                "in_place": False,
                "others": (),
                "salvage_from": 0,
                "what": policy.what,
                "wal_problem": _wal_problem(view, made),
                "deep": policy.deep,
                "services": policy.services,
                "protect": False,
            }
        )
    )


def _wal_problem(view: View, made: Survey) -> str:
    if not view.proofs:
        return "it could not be read"
    return why_not(made, view.proofs[-1]).strip(" ()")


def _dump(view: View, policy: DrillPolicy, place: Place) -> Decision[RestorePlan]:
    made = dumped(view, policy)
    plan = made if isinstance(made, str) else from_dump(view, policy, place, made)
    if isinstance(plan, str):
        return Decision.refuse(plan)
    return Decision.go(RestorePlan(**plan | {"what": policy.what, "deep": policy.deep, "services": policy.services}))
