"""Packs of rules for databases of the lab, and a look with one that needs neither a ledger nor Prefect's server."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.rule_pack import RulePack
from tasks.consistency.looking import Look
from tasks.consistency.policies import CheckPolicy
from tasks.consistency.reach import Reach
from tasks.consistency.state import Finding

FOLDER = Path(__file__).parent
FEW = 20


def pack(name: str) -> RulePack:
    """Give a pack as its block."""
    return RulePack(rules=(FOLDER / f"{name}.yaml").read_text())


def looked(url: str, rules: RulePack) -> dict[str, Finding]:
    """Look at a database with every rule of a pack, and give what each found."""
    look = Look(Reach("lab", AppDatabase(url=SecretStr(url)), rules), CheckPolicy(), FEW, lambda *_: None)
    with look.found() as found:
        for _ in found:
            pass
    return {each.rule: each for each in look.seen().findings}


def wrong(url: str, rules: RulePack) -> dict[str, int]:
    """Count the wrong rows of every rule that is broken; a rule that could not be looked at is an error."""
    found = looked(url, rules)
    unseen = [f"{name}: {each.unseen}" for name, each in found.items() if each.unseen]
    if unseen:
        raise AssertionError(" ".join(unseen))
    return {name: each.found for name, each in found.items() if each.found}
