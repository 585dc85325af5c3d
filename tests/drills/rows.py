"""The rows of a ward's shop, as Salvor is told about them."""

from __future__ import annotations

from pydantic import SecretStr

from blocks.app_database import AppDatabase
from blocks.rule_pack import RulePack
from tests.drills.ward import Ward
from tests.lab.node import PASSWORD

#: The first of them says on which server the look was.
RULES = """
rules:
  - {name: looks at a primary, kind: invariant, query: SELECT 'it is one' WHERE NOT pg_is_in_recovery()}
  - {name: orders of nobody, kind: missing, table: orders, columns: [client]}
"""


def address(ward: Ward, *nodes: str, more: str = "") -> SecretStr:
    """Say how the shop reaches some of its servers."""
    places = ",".join(f"{ward.lab.nodes[name].host}:{ward.lab.nodes[name].port}" for name in nodes)
    return SecretStr(f"postgresql://shop:{PASSWORD}@{places}/orders{more}")


def tell_of_rows(ward: Ward, rules: str = RULES, *, replica: str = "") -> str:
    """Save the blocks; the database is reached wherever its primary is. Return their name."""
    name = f"{ward.target}-rows"
    url = address(ward, *ward.lab.nodes, more="?target_session_attrs=read-write")
    AppDatabase(url=url).save(name, overwrite=True)
    standby = address(ward, replica) if replica else SecretStr("")
    RulePack(rules=rules, replica_url=standby).save(name, overwrite=True)
    return name
