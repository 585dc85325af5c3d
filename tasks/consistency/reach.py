"""Everything that is touched of one application's database, loaded once."""

from __future__ import annotations

import time

from blocks import live_catalog
from blocks.app_database import AppDatabase, Connection
from blocks.errors import Misconfigured, StandDown
from blocks.filled_in import loaded
from blocks.live_catalog import Catalog
from blocks.rule_pack import RulePack
from blocks.rules import Rule
from tasks.consistency.compile import chosen, named
from tasks.consistency.policies import RulesPolicy

POLL_SECONDS = 0.2
_IDENTITY = "SELECT system_identifier::text FROM pg_control_system()"


class Reach:
    """A database with the rules for it. No dataclass: Prefect would look into it."""

    def __init__(self, target: str, database: AppDatabase, pack: RulePack) -> None:
        """Bring the two together."""
        self.target, self.database, self.pack = target, database, pack

    @property
    def resource(self) -> str:
        """Name the thing that leases, holds and events are about."""
        return f"recovery.consistency.{self.target}"

    @property
    def replica(self) -> AppDatabase | None:
        """The standby to look at, if there is one."""
        url = self.pack.replica_url
        return self.database.model_copy(update={"url": url}) if url.get_secret_value() else None

    def rules(self, policy: RulesPolicy) -> list[Rule]:
        """Give the rules that the policy names; a typo must not look like a rule that holds."""
        rules, unknown = chosen(self.pack.pack, policy.rules)
        if unknown:
            raise StandDown(f"The pack has no rule named {', '.join(unknown)}: correct `rules` in the policy.")
        return rules

    def catalog(self, connection: Connection, rules: list[Rule]) -> Catalog:
        """Read what the database says of the tables of RULES."""
        return live_catalog.read(connection, self.database.schema_name, named(rules))

    def to_look_at(self, policy: RulesPolicy) -> AppDatabase:
        """Give the standby when there is one that shows what the database shows now, or the database itself."""
        replica = self.replica
        if replica is None:
            return self.database
        with self.database.reading() as connection:
            identity = connection.execute(_IDENTITY).fetchall()
            wanted = connection.execute("SELECT pg_current_wal_lsn()::text").fetchall()[0][0]
        with replica.reading() as connection:
            if connection.execute(_IDENTITY).fetchall() != identity:
                raise Misconfigured(
                    f"The standby of the rule pack, {replica.where}, is a standby of another database. Correct"
                    " replica_url in the RulePack block, or empty it to look at the database itself."
                )
        self._await(replica, wanted, policy.max_replica_lag_seconds)
        return replica

    def _await(self, replica: AppDatabase, lsn: str, seconds: float) -> None:
        query = "SELECT NOT pg_is_in_recovery() OR pg_last_wal_replay_lsn() >= %s::pg_lsn"
        give_up = time.monotonic() + seconds
        while True:
            with replica.reading() as connection:
                if connection.execute(query, [lsn]).fetchall()[0][0]:
                    return
            if time.monotonic() > give_up:
                raise StandDown(
                    f"{replica.where}, which the rule pack looks at, did not catch up within {seconds:g} s. Run this"
                    " again when it has, or empty replica_url in the RulePack block to look at the database itself."
                )
            time.sleep(POLL_SECONDS)


def reach(target: str, policy: RulesPolicy) -> Reach:
    """Load the blocks of TARGET, or say which one is missing."""
    return Reach(target, loaded(AppDatabase, target), loaded(RulePack, policy.pack or target))
