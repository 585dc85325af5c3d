"""The figures of the benches for Stripe and consistency: each row beside its floor, naive way and rules."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from tests.lab.bench_table import laid_out, middle, short, spread

HEADINGS = ("", "median", "min-max", "floor", "x floor", "naive", "naive x", "n", "load1")


@dataclass(frozen=True)
class Rule:
    """What a row must reach."""

    what: str
    figure: float
    bound: float
    at_most: bool = True

    @property
    def kept(self) -> bool:
        """Whether it is reached."""
        return self.figure <= self.bound if self.at_most else self.figure >= self.bound

    def __str__(self) -> str:
        """Say it in a line."""
        sign = "<=" if self.at_most else ">="
        return f"{'yes' if self.kept else 'NO '}  {self.what} {sign} {self.bound:g}: {short(self.figure)}"


@dataclass
class Row:
    """One row of the table."""

    key: str
    what: str
    unit: str = "s"
    ours: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    naive: float = 0.0  #: extrapolated from a sample
    sampled: str = ""  #: of how many, and to how many
    rules: list[Rule] = field(default_factory=list)
    phases: list[dict[str, float]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)

    @property
    def figure(self) -> float:
        """The median of what was measured."""
        return median(self.ours)

    @property
    def faster(self) -> float:
        """How many times faster than the naive way."""
        return self.naive / self.figure

    @property
    def reached(self) -> bool:
        """Whether every rule is kept."""
        return all(rule.kept for rule in self.rules)

    def must(self, what: str, figure: float, bound: float, *, at_most: bool = True) -> None:
        """Add a rule."""
        self.rules.append(Rule(what, figure, bound, at_most))

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        return (
            f"{self.what} ({self.unit})",
            short(self.figure),
            f"{short(min(self.ours))}-{short(max(self.ours))}",
            short(median(self.floor)) if self.floor else "",
            f"{self.figure / median(self.floor):.2f}" if self.floor else "",
            f"{short(self.naive)} x" if self.naive else "",
            short(self.faster) if self.naive else "",
            str(len(self.ours)),
            f"{min(self.loads):.1f}-{max(self.loads):.1f}" if self.loads else "",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything that was measured."""
        floor = spread(self.floor)
        return {
            "what": self.what,
            "unit": self.unit,
            "reached": self.reached,
            **(spread(self.ours) or {}),
            "samples": self.ours,
            "floor": floor,
            "times_floor": round(self.figure / floor["median"], 2) if floor else None,
            "naive_extrapolated": round(self.naive, 1) if self.naive else None,
            "naive_sampled": self.sampled,
            "naive_times_ours": round(self.faster, 1) if self.naive else None,
            "rules": {rule.what: [round(rule.figure, 4), rule.bound, rule.kept] for rule in self.rules},
            "phases": middle(self.phases),
            **self.facts,
            "load1": [round(load, 2) for load in self.loads],
        }


def table(rows: list[Row]) -> str:
    """Lay ROWS out for a terminal, each with its rules and its phases below it."""
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADINGS))]
    said = [laid_out(HEADINGS, widths)]
    for row in rows:
        said.append(laid_out(row.cells(), widths))
        said += [f"    {rule}" for rule in row.rules]
        said += [f"    naive: extrapolated from {row.sampled}"] if row.sampled else []
        phases = "  ".join(f"{name} {seconds:.2f}" for name, seconds in middle(row.phases).items())
        said += [f"    phases: {phases}"] if phases else []
        said += [f"    {name.replace('_', ' ')}: {value}" for name, value in row.facts.items()]
    return "\n".join(said)


def figures(bench: str, rows: list[Row], seconds: float, **more: Any) -> dict[str, Any]:
    """Return everything that was measured, and on what."""
    return {
        "bench": bench,
        "reached": all(row.reached for row in rows),
        **more,
        "rows": {row.key: row.as_dict() for row in rows},
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()},
        "load1": round(os.getloadavg()[0], 2),
        "seconds": round(seconds),
    }
