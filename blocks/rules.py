"""What must be true of an application's rows: the rules of a pack, as data. Pure.

Every name in a rule is quoted and every value is sent apart from its statement, so nothing of a rule is executed: but
for the query of an `invariant`, which is the author's own and runs in a transaction that cannot write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"a column is named once; twice there is {', '.join(twice)}")
    return names


Name = Annotated[str, Field(min_length=1, max_length=63)]
Names = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_once)]
Minutes = Annotated[float, Field(le=1_000_000_000)]  #: 1,900 years; PostgreSQL counts no further back than 6,700
Value = str | int | float | bool | None

#: With a value, and without.
COMPARED = ("equal", "different", "one_of", "none_of", "less", "more", "older_than_minutes", "newer_than_minutes")
STATED = ("null", "present", "empty")


class RuleModel(BaseModel):
    """A value of a pack: what is misspelt is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_a_word(cls, given: object) -> object:
        # What YAML reads where `repair: null` is written without quotes.
        if not isinstance(given, dict):
            return given
        if any("\0" in text for text in _texts(given)):
            raise ValueError("there is a character with the code 0, which PostgreSQL keeps in no text")
        return given | {name: "null" for name in ("repair", "holds") if name in given and given[name] is None}


def _texts(given: dict[object, object]) -> Iterator[str]:
    # What is a model of its own is asked by itself.
    for value in given.values():
        parts = (
            [*value, *value.values()]
            if isinstance(value, dict)
            else value
            if isinstance(value, list | tuple)
            else [value]
        )
        yield from (part for part in parts if isinstance(part, str))


class Condition(RuleModel):
    """What a column holds."""

    column: Name = Field(description="The column.")
    holds: Literal[
        "null", "present", "empty", "equal", "different", "one_of", "none_of", "less", "more", "older_than_minutes",
        "newer_than_minutes",
    ] = Field(description="What it holds; empty is null, or text without a visible character.")  # fmt: skip
    value: Value | tuple[Value, ...] = Field(default=None, description="What it is compared with.")

    @model_validator(mode="after")
    def _value_fits(self) -> Condition:
        if self.holds in STATED and self.value is not None:
            raise ValueError(f"{self.column}: `{self.holds}` takes no value")
        if self.holds in COMPARED and self.value is None:
            raise ValueError(f"{self.column}: `{self.holds}` needs a value")
        if isinstance(self.value, tuple) != (self.holds in ("one_of", "none_of")):
            raise ValueError(f"{self.column}: one_of and none_of take a list, the others a single value")
        if isinstance(self.value, tuple) and (not self.value or None in self.value):
            raise ValueError(f"{self.column}: the list must not be empty, and NULL is asked for with `null`")
        return self


class Order(RuleModel):
    """By which column it is decided which row stays."""

    column: Name = Field(description="The column.")
    first: Literal["smallest", "largest"] = Field(default="smallest", description="Which of its values stays.")


class Pointer(RuleModel):
    """Columns of another table that point to the rows of this one."""

    table: Name = Field(description="The table that points here.")
    columns: Names = Field(description="Its columns, in the order of this table's primary key.")


class Rows(RuleModel):
    """The part that every rule about the rows of a table has."""

    name: str = Field(min_length=1, max_length=200, description="What is wrong, in words; it identifies the rule.")
    table: Name = Field(description="The table whose rows are looked at, and repaired; schema.table is possible.")
    only: tuple[Condition, ...] = Field(default=(), description="Only rows for which all of this holds.")


class Orphan(Rows):
    """A row points to a row that is not there."""

    kind: Literal["orphan"] = "orphan"
    columns: Names = Field(description="The columns that point.")
    parent: Name = Field(description="The table they point to.")
    parent_columns: Names = Field(description="The key there, in the same order.")
    repair: Literal["report", "quarantine", "null"] = Field(
        default="report", description="null: the columns become NULL. quarantine: the row is moved to the quarantine."
    )
    fence: bool = Field(
        default=False, description="Add a foreign key, so that there can be no new ones: NOT VALID first, then valid."
    )

    @model_validator(mode="after")
    def _as_many(self) -> Orphan:
        if len(self.columns) != len(self.parent_columns):
            raise ValueError("columns and parent_columns must be as many")
        return self


class Duplicate(Rows):
    """Several rows have a key that should be of one."""

    kind: Literal["duplicate"] = "duplicate"
    columns: Names = Field(description="The key; rows in which one of them is NULL are not compared.")
    keep: tuple[Order, ...] = Field(
        min_length=1,
        description="Which row stays: the first by these columns, which together must be unique in the table.",
    )
    why: str = Field(min_length=1, description="Why that one, in words; it stands in the plan.")
    repair: Literal["report", "quarantine", "null"] = Field(
        default="report", description="Of the rows that do not stay. null: the key's columns become NULL."
    )
    repoint: tuple[Pointer, ...] = Field(
        default=(), description="Tables whose rows are led from the row that goes to the one that stays."
    )
    fence: bool = Field(default=False, description="Add a unique index, built without blocking writers, at the end.")


class Mismatch(Rows):
    """Columns differ from those of another table, which is right."""

    kind: Literal["mismatch"] = "mismatch"
    source: Name = Field(description="The table that is right.")
    join: dict[Name, Name] = Field(
        min_length=1, description="Column here: column there; those there must be a unique key."
    )
    columns: dict[Name, Name] = Field(min_length=1, description="Column here: column there that it must be equal to.")
    settled_column: Name | None = Field(
        default=None, description="When the row here was last changed; rows changed just now are left alone."
    )
    settled_minutes: int = Field(default=15, ge=0, le=1_000_000_000, description="How long ago that must be.")
    repair: Literal["report", "copy"] = Field(default="report", description="copy: take over what the other has.")


class Missing(Rows):
    """A column is empty that must not be."""

    kind: Literal["missing"] = "missing"
    columns: Names = Field(description="The columns; a row in which any of them is null or blank is wrong.")
    repair: Literal["report", "quarantine"] = Field(default="report", description="What becomes of the row.")


class Invalid(Rows):
    """A row holds what cannot be."""

    kind: Literal["invalid"] = "invalid"
    when: tuple[Condition, ...] = Field(min_length=1, description="A row is wrong when all of this holds.")
    repair: Literal["report", "quarantine", "set"] = Field(default="report", description="What becomes of the row.")
    values: dict[Name, Value] = Field(default_factory=dict, description="With `set`: column and new value.")

    @model_validator(mode="after")
    def _values_fit(self) -> Invalid:
        if (self.repair == "set") != bool(self.values):
            raise ValueError("`set` needs values, and only `set` takes them")
        if self.values and not set(self.values) & {each.column for each in (*self.when, *self.only)}:
            raise ValueError("a row would still be wrong after its repair: none of its columns in `when` changes")
        return self


class Stuck(Rows):
    """Work that was begun and never ended."""

    kind: Literal["stuck"] = "stuck"
    column: Name = Field(default="status", description="The column of the status.")
    statuses: tuple[str, ...] = Field(default=("processing",), min_length=1, description="Statuses of begun work.")
    since: Name = Field(description="When it was begun; rows without it count as stuck.")
    after_minutes: Minutes = Field(default=30, gt=0, description="After how many minutes it counts as stuck.")
    reset_to: str = Field(default="pending", description="Its status then.")
    attempts: Name | None = Field(default=None, description="A column that counts the attempts; it is raised by one.")
    max_attempts: int | None = Field(default=None, ge=1, description="From so many attempts on it is given up.")
    given_up: str = Field(default="failed", description="Its status then.")
    reason_column: Name | None = Field(default=None, description="Where the reason is written.")
    reason: str = Field(default="Reset by Salvor: no end after {minutes} minutes", description="What is written.")
    repair: Literal["report", "reset"] = Field(default="report", description="reset: let it be begun again.")


class Expired(Rows):
    """A row is older than it may be."""

    kind: Literal["expired"] = "expired"
    column: Name = Field(description="When it ends, or when it was made.")
    older_than_minutes: Minutes = Field(default=0, ge=0, description="How long ago that must be; 1440 are a day.")
    repair: Literal["report", "quarantine", "delete"] = Field(
        default="report", description="delete: no copy is kept, so there is no way back."
    )


class Invariant(RuleModel):
    """A query that must return no rows."""

    kind: Literal["invariant"] = "invariant"
    name: str = Field(min_length=1, max_length=200, description="What is wrong when it does, in words.")
    query: str = Field(min_length=1, description="One SELECT; it runs in a transaction that cannot write.")
    repair: Literal["report"] = Field(default="report", description="It is only reported.")


class Index(RuleModel):
    """The indexes of a table agree with its rows (amcheck)."""

    kind: Literal["index"] = "index"
    name: str = Field(min_length=1, max_length=200, description="What is wrong when they do not, in words.")
    table: Name = Field(description="The table.")
    repair: Literal["report"] = Field(default="report", description="It is only reported.")


class Sequence(RuleModel):
    """A sequence is behind the column that it fills."""

    kind: Literal["sequence"] = "sequence"
    name: str = Field(min_length=1, max_length=200, description="What is wrong, in words; it identifies the rule.")
    table: Name = Field(description="The table.")
    column: Name = Field(default="id", description="The column that the sequence fills.")
    repair: Literal["report", "advance"] = Field(
        default="report", description="advance: set it past the largest value; it never goes back."
    )


RowRule = Orphan | Duplicate | Mismatch | Missing | Invalid | Stuck | Expired
Rule = Annotated[
    Orphan | Duplicate | Mismatch | Missing | Invalid | Stuck | Expired | Invariant | Index | Sequence,
    Field(discriminator="kind"),
]


class Pack(RuleModel):
    """Rules for one application, in the order in which they are repaired."""

    rules: tuple[Rule, ...] = Field(min_length=1, description="The rules.")

    @model_validator(mode="after")
    def _named_once(self) -> Pack:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rules must have names of their own; twice there is {', '.join(twice)}")
        return self
