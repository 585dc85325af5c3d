"""Show people the rules that are proposed."""

from __future__ import annotations

from tasks.consistency.decide_suggest import Proposal, artifact_of
from tasks.consistency.suggest_state import Survey
from tasks.consistency.suggest_text import page_of
from tasks.report import publish


def tell_proposal(seen: Survey, proposal: Proposal) -> bool:
    """Write the artifact; False when Prefect did not take it."""
    return publish(artifact_of(seen.target), page_of(seen, proposal), f"Rules proposed for {seen.target}, as YAML")
