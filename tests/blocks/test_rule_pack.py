"""A pack that a person wrote is read, or it is said of each fault where it is and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from blocks.rule_pack import RulePack, main, parsed
from blocks.rules import Expired, Invalid, Missing, Orphan

GOOD = """
rules:
  - name: jobs of nobody
    kind: orphan
    table: jobs
    columns: [user_id]
    parent: users
    parent_columns: [id]
    repair: null
  - {name: old, kind: expired, table: t, column: at, older_than_minutes: 1440}
"""
RULE = "- {name: a, kind: missing, table: t, columns: [x]%s}"
OLD = "- {name: a, kind: expired, table: t, column: c, older_than_minutes: %s}"
WHEN = "- {name: a, kind: invalid, table: t, when: [{column: c, %s}]}"


def test_a_pack_is_read() -> None:
    """As YAML, as JSON, and without the word `rules`; null is a repair even where YAML reads nothing."""
    rules = parsed(GOOD).rules
    assert [type(rule) for rule in rules] == [Orphan, Expired]
    assert rules[0].repair == "null"
    assert RulePack(rules=GOOD).pack.rules == rules
    as_json = '[{"name": "a", "kind": "missing", "table": "t", "columns": ["x"]}]'
    assert parsed(as_json) == parsed(RULE % "") == parsed("rules:\n  " + RULE % "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" ", "there are no rules: write a list of them under `rules:`"),
        ("rules: 5", "there are no rules"),
        ("rules: []", "there are no rules"),
        ("rule: []", "there are no rules"),
        ("a: [", "this is no YAML: while parsing a flow node"),
        ("- 1", "rule 1: a rule is a list of fields, as `kind: orphan`"),
        ("- &a [*a]", "rule 1: a rule is a list of fields"),
        ("- {name: a}", "rule 1 (a): it needs a kind: duplicate, expired, index,"),
        ("- {name: a, kind: orphn}", "rule 1 (a): there is no such kind; there are duplicate, expired,"),
        (RULE % ", column: x", "rule 1 (a), column: there is no such field: correct its name"),
        (RULE % ", table: u", "table stands there twice"),
        (RULE % ", repair: delete", "rule 1 (a), repair: Input should be 'report' or 'quarantine'"),
        (RULE.replace("[x]", "x") % "", "rule 1 (a), columns: it must be a list, as [a, b]"),
        (RULE.replace("[x]", "[x, x]") % "", "rule 1 (a), columns: a column is named once; twice there is x"),
        (RULE.replace("columns: [x]", "only: []") % "", "rule 1 (a), columns: it must be given"),
        (RULE % "" + "\n" + RULE % "", "rules must have names of their own; twice there is a"),
        (RULE.replace("name: a", 'name: "a\\0"') % "", "a character with the code 0"),
        (WHEN % 'holds: equal, value: "a\\0"', "rule 1 (a), when.0: there is a character with the code 0"),
        (WHEN % "holds: equal", "when.0: c: `equal` needs a value"),
        (WHEN % "holds: null, value: 1", "when.0: c: `null` takes no value"),
        (WHEN % "holds: one_of, value: x", "when.0: c: one_of and none_of take a list, the others a single value"),
        (WHEN % "holds: less, value: [x]", "when.0: c: one_of and none_of take a list"),
        (WHEN % "holds: one_of, value: []", "when.0: c: the list must not be empty"),
        (WHEN % "holds: none_of, value: [a, null]", "NULL is asked for with `null`"),
        (WHEN.replace("}]}", "}], repair: set}") % "holds: present", "`set` needs values, and only `set` takes them"),
        (
            WHEN.replace("}]}", "}], repair: set, values: {d: 1}}") % "holds: present",
            "a row would still be wrong after its repair: none of its columns in `when` changes",
        ),
        (OLD % ".inf", "older_than_minutes: Input should be"),
        (OLD % "1e15", "older_than_minutes: Input should be"),
        ("- {name: a, kind: orphan, table: t, columns: [x], parent: p, parent_columns: [y, z]}", "must be as many"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_rule_and_field(text: str, said: str) -> None:
    """One sentence for each fault; the block refuses the same text with the same sentence."""
    with pytest.raises(ValueError, match=re.escape(said)):
        parsed(text)
    with pytest.raises(ValidationError, match=re.escape(said)):
        RulePack(rules=text)


def test_all_faults_are_said_at_once() -> None:
    """Whoever mends a pack need not try it after every word."""
    text = "- {name: a, kind: missing, table: t}\n- {name: b, kind: expired, table: t, column: 5}"
    with pytest.raises(ValueError, match=r"rule 1 \(a\), columns: .*; rule 2 \(b\), column: "):
        parsed(text)


def test_a_date_stays_what_was_written() -> None:
    """YAML would make it a date of its own, which no rule takes."""
    (rule,) = parsed(WHEN % "holds: less, value: 2026-01-02").rules
    assert isinstance(rule, Invalid)
    assert rule.when[0].value == "2026-01-02"


def test_anchors_may_be_used() -> None:
    """What several rules have in common is written once."""
    text = "- &first {name: a, kind: missing, table: t, columns: [x]}\n- {<<: *first, name: b}"
    rules = parsed(text).rules
    assert [(rule.name, rule.columns) for rule in rules if isinstance(rule, Missing)] == [("a", ("x",)), ("b", ("x",))]


@pytest.mark.usefixtures("prefect_server")
def test_a_file_is_saved_as_a_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It replaces the rules that were there, keeps the standby's address, and saves nothing that is wrong."""
    file = tmp_path / "pack.yaml"
    file.write_text(GOOD)
    assert main(["shop-pack", str(file)]) == 0
    assert "The block shop-pack has the 2 rules of" in capsys.readouterr().out
    replica = SecretStr("postgresql://u:hush@standby/app")
    RulePack(rules=GOOD, replica_url=replica).save("shop-pack", overwrite=True)
    file.write_text(RULE % "")
    assert main(["shop-pack", str(file)]) == 0
    file.write_text("- {name: a}")
    assert main(["shop-pack", str(file)]) == 1
    assert "rule 1 (a): it needs a kind" in capsys.readouterr().err
    saved = RulePack.load("shop-pack")
    assert isinstance(saved, RulePack)
    assert ([rule.name for rule in saved.pack.rules], saved.replica_url) == (["a"], replica)
    assert main(["shop-pack", str(tmp_path / "none.yaml")]) == 1
    assert main(["shop-pack"]) == 2


def test_the_form_takes_more_than_one_line() -> None:
    """Prefect's form parses the format json-string as JSON, in which no YAML could be saved; plain text it takes."""
    assert "format" not in RulePack.model_json_schema()["properties"]["rules"]
