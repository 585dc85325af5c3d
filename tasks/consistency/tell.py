"""Show people what a look found."""

from __future__ import annotations

from tasks.consistency.probe import looks_before
from tasks.consistency.state import Seen
from tasks.consistency.tables import history_of, rows_of
from tasks.report import artifact_key, publish_table


def tell_rows(seen: Seen) -> None:
    """Show the first wrong rows, and the looks before this one."""
    if rows := rows_of(seen):
        title = f"Rows of {seen.target} that are wrong, as of {seen.at:%H:%M:%S} UTC: the first of each rule"
        publish_table(artifact_key("consistency", seen.target, "rows"), rows, title)
    if looks := history_of(looks_before(seen.target)):
        title = f"The last looks at the rows of {seen.target}, the newest first"
        publish_table(artifact_key("consistency", seen.target, "history"), looks, title)
