"""Blocks of a cluster go through a Prefect server and come back as they were; nonsense is refused with a sentence."""

from __future__ import annotations

import pytest
from prefect.blocks.core import Block
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr, ValidationError

from blocks.env_file import EnvFile
from blocks.errors import Misconfigured
from blocks.node_control import CommandControl, LocalControl, PatroniControl, SshControl
from blocks.pgbouncer import PgBouncer
from blocks.postgres import PostgresCluster, PostgresNode

CONTROLS = [
    LocalControl(run_as="postgres"),
    SshControl(destination="postgres@db2", port=2222, options=["ControlMaster=auto"]),
    CommandControl(template="docker exec -i db3 sh -c {script}"),
    PatroniControl(url="http://db4:8008", username="salvor", password=SecretStr("of-patroni")),
]


def node(name: str, /, **more) -> PostgresNode:
    fields = {"name": name, "host": f"{name}.example", "data_directory": "/data", "bin_directory": "/usr/bin"}
    return PostgresNode(**(fields | more))


def cluster(**more) -> PostgresCluster:
    nodes = [node(f"n{i}", control=control) for i, control in enumerate(CONTROLS, start=1)]
    return PostgresCluster(**({"nodes": nodes, "password": "of-salvor", "replication_password": "of-standbys"} | more))


def fields_of(block: Block) -> dict[str, object]:
    return {name: getattr(block, name) for name in type(block).model_fields}


def test_every_kind_of_control_comes_back_from_prefect(prefect_server):
    """The kind says which it was, and its secrets are still readable by us."""
    cluster().save("documents-orders", overwrite=True)
    back = PostgresCluster.load("documents-orders")
    assert [type(n.control) for n in back.nodes] == [LocalControl, SshControl, CommandControl, PatroniControl]
    assert [n.control for n in back.nodes] == CONTROLS
    assert back.password.get_secret_value() == "of-salvor"
    assert fields_of(back) == fields_of(cluster())


def test_three_nodes_of_patroni_come_back_each_as_itself(prefect_server):
    """Nodes with a secret each are not mixed up on their way through Prefect."""
    urls = [f"http://db{i}:8008" for i in range(3)]
    controls = [PatroniControl(url=url, username="salvor", password=SecretStr(f"of {url}")) for url in urls]
    it = cluster(nodes=[node(f"n{i}", control=control) for i, control in enumerate(controls)])
    it.save("documents-patroni", overwrite=True)
    assert fields_of(PostgresCluster.load("documents-patroni")) == fields_of(it)


def test_the_password_of_patroni_is_hidden_wherever_it_is_not_asked_for():
    """In a log, in JSON and in a plain dump."""
    control = PatroniControl(url="http://db1:8008", password=SecretStr("of-patroni"))
    assert "of-patroni" not in f"{control} {control.model_dump()} {control.model_dump_json()}"


def test_a_pooler_and_an_environment_file_come_back_from_prefect(prefect_server):
    """They work after loading as before."""
    pooler = PgBouncer(
        host="db1", databases=["orders"], routing_file="/etc/r.ini", password="of-admin", control=CONTROLS[1]
    )
    pooler.save("documents-pooler", overwrite=True)
    env = EnvFile(path="/srv/.env", control=CONTROLS[2])
    env.save("documents-env", overwrite=True)
    back = PgBouncer.load("documents-pooler")
    assert fields_of(back) == fields_of(pooler)
    assert back.password.get_secret_value() == "of-admin"
    assert fields_of(EnvFile.load("documents-env")) == fields_of(env)


def test_no_secret_is_shown():
    """Neither a representation nor a dump of a block holds a password."""
    shown = f"{cluster()!r} {cluster().model_dump()} {cluster().model_dump_json()}"
    assert not [secret for secret in ("of-salvor", "of-standbys", "of-patroni") if secret in shown]


def test_a_node_is_found_by_name_or_the_names_are_said():
    """A typo shows what there is."""
    assert cluster().node("n2").host == "n2.example"
    with pytest.raises(Misconfigured, match="no node `n9`, only n1, n2, n3, n4"):
        cluster().node("n9")


def test_salvors_address_notices_a_dead_host():
    """Every connection of Salvor's has its time-outs."""
    given = conninfo_to_dict(cluster().conninfo("n1", dbname="orders", application_name="it's salvor"))
    assert given == {
        "host": "n1.example", "port": "5432", "user": "postgres", "password": "of-salvor", "dbname": "orders",
        "application_name": "it's salvor", "sslmode": "prefer", "connect_timeout": "2", "tcp_user_timeout": "2000",
        "keepalives_idle": "1", "keepalives_interval": "1", "keepalives_count": "3",
        "options": "-c statement_timeout=2000",
    }  # fmt: skip
    assert set(cluster().conninfos()) == {"n1", "n2", "n3", "n4"}


def test_standbys_use_the_address_for_replication():
    """Where the network for replication is another one, the standbys go there, and Salvor does not."""
    nodes = [node("n1", replication_host="10.9.0.1", replication_port=6001), node("n2")]
    it = cluster(nodes=nodes)
    given = conninfo_to_dict(it.replication_conninfo("n1", "n2"))
    assert (given["host"], given["port"], given["application_name"]) == ("10.9.0.1", "6001", "n2")
    assert (given["user"], given["password"]) == ("replicator", "of-standbys")
    assert conninfo_to_dict(it.conninfo("n1"))["host"] == "n1.example"
    assert conninfo_to_dict(it.replication_conninfo("n2", "n1"))["host"] == "n2.example"


def test_with_a_passfile_no_password_is_written_on_the_nodes():
    """primary_conninfo is read by every superuser of the standby and may be logged."""
    it = cluster(replication_passfile="/var/lib/postgresql/.pgpass")
    for given in (it.replication_conninfo("n1", "n2"), it.copy_conninfo("n1")):
        assert "of-standbys" not in given
        assert "passfile=/var/lib/postgresql/.pgpass" in given


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"host": "http://db1"}, "is a URL: give only the host"),
        ({"host": "db1:5432"}, "put the port in its own field"),
        ({"host": "db 1"}, "is not a host"),
        ({"host": ""}, "is not a host"),
        ({"host": "-db1"}, "is not a host"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"port": 70000}, "less than or equal to 65535"),
        ({"name": "N 1"}, "should match pattern"),
        ({"data_directory": "data"}, "not the absolute path"),
        ({"data_directory": "/"}, "not the absolute path"),
        ({"data_directory": ""}, "not the absolute path"),
        ({"hots": "db1"}, "Extra inputs are not permitted"),
        ({"control": {"kind": "telnet"}}, "does not match any of the expected tags"),
        ({"control": {"kind": "ssh", "destination": "a", "prot": 22}}, "Extra inputs are not permitted"),
    ],
)
def test_a_node_that_makes_no_sense_is_refused_with_the_reason(wrong, sentence):
    """The form says what is wrong before a recovery finds out."""
    with pytest.raises(ValidationError, match=sentence):
        node("n1", **wrong)


@pytest.mark.parametrize(
    "host", ["db1", "db-1.example.org", "10.0.0.1", "::1", "[fd00::1]", "/run/postgresql", "db_1.local."]
)
def test_hosts_of_every_kind_are_taken(host):
    """Names, both kinds of addresses, and the directory of a socket."""
    assert node("n1", host=host).host == host.strip("[]")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"nodes": []}, "at least 1 item"),
        ({"nodes": [node("n1"), node("n1", host="other")]}, "same name"),
        ({"nodes": [node("n1", host="a"), node("n2", host="a")]}, "same host and port"),
        ({"sync_standbys": -1}, "greater than or equal to 0"),
        ({"probe_deadline_seconds": 0}, "greater than or equal to"),
        ({"user": ""}, "at least 1 character"),
        ({"sslmode": "maybe"}, "Input should be"),
    ],
)
def test_a_cluster_that_makes_no_sense_is_refused_with_the_reason(wrong, sentence):
    """Two nodes that are one, and numbers out of range."""
    with pytest.raises(ValidationError, match=sentence):
        cluster(**wrong)


@pytest.mark.parametrize("block", [PostgresCluster, PgBouncer, EnvFile])
def test_a_field_that_is_misspelt_is_refused(block):
    """Prefect's blocks swallow what they do not know; a wrong `poolres` would leave clients where they are."""
    fields = {"nodes": [node("n1")], "host": "a", "databases": ["o"], "routing_file": "/r", "path": "/e"}
    known = {name: value for name, value in fields.items() if name in block.model_fields}
    assert block(**known)
    with pytest.raises(ValidationError, match="poolres"):
        block(**known, poolres=["main"])
