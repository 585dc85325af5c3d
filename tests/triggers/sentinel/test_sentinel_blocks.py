"""Which clusters the sentinel watches, as their blocks say."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentCreate

from blocks.errors import Misconfigured
from blocks.postgres import PostgresCluster
from flows.triggers.sentinel.roster import clusters

NODE = {"name": "n1", "host": "127.0.0.1", "data_directory": "/data", "bin_directory": "/bin"}


def save_as_the_form_does(name: str, data: dict[str, Any]) -> None:
    """Save a block without validating it."""
    PostgresCluster.register_type_and_schema()
    with get_client(sync_client=True) as client:
        kind_id = client.read_block_type_by_slug("salvor-postgres-cluster").id
        schema = client.read_block_schema_by_checksum(PostgresCluster._calculate_schema_checksum()).id  # noqa: SLF001
        client.create_block_document(
            BlockDocumentCreate(name=name, data=data, block_type_id=kind_id, block_schema_id=schema)
        )


def test_half_a_block_blinds_nobody(prefect_server: None, caplog: pytest.LogCaptureFixture) -> None:
    """A block that is not filled in is named in the log, the others are watched; one that was whole stays as it was."""
    PostgresCluster(nodes=[NODE]).save("whole")
    save_as_the_form_does("half", {"nodes": [{"name": "n1", "control": {"kind": "ssh"}}]})
    seen = clusters([], {})
    assert "whole" in seen
    assert "half" not in seen
    assert "half: The PostgresCluster block `half` is not filled in right (nodes.0.host: Field required" in caplog.text
    assert clusters(["half"], {"half": seen["whole"]}) == {"half": seen["whole"]}
    with pytest.raises(Misconfigured, match="half"):
        clusters(["half"], {})
