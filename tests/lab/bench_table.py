"""The bench's figures: medians, ratios, the table on the terminal and the JSON object. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

HEADINGS = (
    "",
    "median",
    "min-max",
    "reach",
    "",
    "floor",
    "x floor",
    "stock",
    "stock x",
    "lost",
    "errors",
    "n",
    "load1",
)


@dataclass
class Line:
    """One row of the table: what was reached, what is physically possible, and what Prefect gives by itself."""

    key: str
    what: str
    reach: float
    unit: str = "s"
    reach_is_ratio: bool = False  #: REACH is a multiple of the floor
    ours: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    stock: list[float] = field(default_factory=list)
    lost: int | None = None  #: rows acknowledged and absent, of all runs
    errors: int | None = None  #: errors that clients saw, of our runs
    must_be_zero: dict[str, int] = field(default_factory=dict)
    phases: list[dict[str, float]] = field(default_factory=list)  #: seconds from the fault, a dictionary per run
    loads: list[float] = field(default_factory=list)

    @property
    def figure(self) -> float:
        """What is held against `reach`."""
        return median(self.ours) / median(self.floor) if self.reach_is_ratio else median(self.ours)

    @property
    def reached(self) -> bool:
        """Whether the number is reached, with nothing lost."""
        return self.figure <= self.reach and not self.lost and not any(self.must_be_zero.values())

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        ours = median(self.ours)
        reach = f"<= {self.reach:g}x" if self.reach_is_ratio else f"<= {self.reach:g}"
        return (
            f"{self.what} ({self.unit})",
            short(ours),
            f"{short(min(self.ours))}-{short(max(self.ours))}",
            reach,
            "yes" if self.reached else "NO",
            short(median(self.floor)) if self.floor else "",
            f"{ours / median(self.floor):.2f}" if self.floor else "",
            short(median(self.stock)) if self.stock else "",
            f"{median(self.stock) / ours:.1f}" if self.stock else "",
            "" if self.lost is None else str(self.lost),
            "" if self.errors is None else str(self.errors),
            str(len(self.ours)),
            f"{min(self.loads):.1f}-{max(self.loads):.1f}" if self.loads else "",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything that was measured."""
        floor, stock = spread(self.floor), spread(self.stock)
        return {
            "what": self.what,
            "unit": self.unit,
            "reach": self.reach,
            "reached": self.reached,
            **(spread(self.ours) or {}),
            "samples": self.ours,
            "floor": floor,
            "times_floor": round(median(self.ours) / floor["median"], 2) if floor else None,
            "stock": stock,
            "stock_times_ours": round(stock["median"] / median(self.ours), 2) if stock else None,
            "lost_rows": self.lost,
            "client_errors": self.errors,
            **self.must_be_zero,
            "phases": middle(self.phases),
            "load1": [round(load, 2) for load in self.loads],
        }


def spread(samples: list[float]) -> dict[str, Any] | None:
    """Return median, smallest, largest and number of SAMPLES."""
    if not samples:
        return None
    found = {"median": median(samples), "min": min(samples), "max": max(samples)}
    return {name: round(value, 4) for name, value in found.items()} | {"n": len(samples)}


def middle(phases: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of every phase, in the order of the first run."""
    names = dict.fromkeys(name for run in phases for name in run)
    return {name: round(median([run[name] for run in phases if name in run]), 3) for name in names}


def table(lines: list[Line]) -> str:
    """Lay LINES out for a terminal, each with the timeline of its steps below it."""
    rows = [HEADINGS, *(line.cells() for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    said = [laid_out(HEADINGS, widths)]
    for line in lines:
        said.append(laid_out(line.cells(), widths))
        if line.phases:
            steps = "  ".join(f"{name} {at:.2f}" for name, at in middle(line.phases).items())
            said.append(f"    {steps}")
    return "\n".join(said)


def laid_out(cells: tuple[str, ...], widths: list[int]) -> str:
    """Write one line of a table."""
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()


def short(number: float) -> str:
    """Write a number with as many digits as mean something."""
    return f"{number:.0f}" if number >= 50 else f"{number:.2f}"
