"""The ledger's figures in Prometheus' words, and the receiver's own requests."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from blocks.ledger.backups import Standing, standings
from blocks.ledger.block import Ledger
from blocks.ledger.figures import Figures, RunFigure, count
from blocks.ledger.positions import ARCHIVE

#: From a warm failover to a restored backup.
EDGES = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 14400)
RECOVERED = "Recovered"


class LedgerCollector(Collector):
    """Counts at every scrape: whatever process died, the numbers stay right."""

    def __init__(self, ledger: Ledger) -> None:
        """Count what is in LEDGER."""
        self.ledger = ledger

    def describe(self) -> Iterable[Metric]:
        """Say nothing at registration, so that the ledger is not asked then."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Count now."""
        seen = count(self.ledger)
        yield from of_runs(seen.runs)
        yield from of_alerts(seen)
        yield from of_outbox(seen)
        age = GaugeMetricFamily(
            "salvor_position_age_seconds",
            "Seconds since a sentinel last recorded the primary; alert on it, for it watches the watcher.",
            labels=["resource"],
        )
        for resource, seconds in seen.position_age_seconds.items():
            if not resource.startswith(ARCHIVE):
                age.add_metric([resource], seconds)
        yield age
        yield from of_backups(seen, standings(self.ledger))
        yield GaugeMetricFamily("salvor_holds", "Holds in force: nothing is begun on what they name.", seen.holds)


def of_runs(figures: tuple[RunFigure, ...]) -> Iterator[Metric]:
    """Count attempts, outcomes, what is active, what died, how long runs took, and how long the trouble lasted."""
    attempts = CounterMetricFamily("salvor_runs_started", "Runs that were begun.", labels=["procedure"])
    outcomes = CounterMetricFamily("salvor_runs_ended", "Runs that ended.", labels=["procedure", "outcome"])
    active = GaugeMetricFamily("salvor_runs_active", "Runs under way.", labels=["procedure"])
    died = CounterMetricFamily("salvor_runs_swept", "Runs found dead and taken over.", labels=["procedure"])
    procedures = sorted({r.procedure for r in figures})
    for procedure in procedures:
        mine = [r for r in figures if r.procedure == procedure]
        attempts.add_metric([procedure], len(mine))
        active.add_metric([procedure], sum(r.ended_at is None and r.swept_at is None for r in mine))
        died.add_metric([procedure], sum(r.swept_at is not None for r in mine))
        for outcome, number in sorted(Tally(r.outcome for r in mine if r.outcome).items()):
            outcomes.add_metric([procedure, outcome], number)
    yield from (attempts, outcomes, active, died, durations(figures), times_to_recover(figures))


def durations(figures: tuple[RunFigure, ...]) -> Metric:
    """Distribute the runs that ended by how long they took."""
    family = HistogramMetricFamily("salvor_run_seconds", "Seconds a run took.", labels=["procedure", "outcome"])
    ended = [(r.procedure, r.outcome, (r.ended_at - r.started_at).total_seconds()) for r in figures if r.ended_at]
    for procedure, outcome in sorted({(p, o or "") for p, o, _ in ended}):
        took = [s for p, o, s in ended if (p, o or "") == (procedure, outcome)]
        buckets = [(f"{edge:g}", float(sum(s <= edge for s in took))) for edge in EDGES]
        family.add_metric([procedure, outcome], [*buckets, ("+Inf", len(took))], sum(took))
    return family


def times_to_recover(figures: tuple[RunFigure, ...]) -> Metric:
    """Sum the times from the beginning of the trouble to the end of the run that mended it: sum / count is the MTTR."""
    family = SummaryMetricFamily(
        "salvor_time_to_recover_seconds",
        "From the start of the alert (of the run, when no alert caused it) to the end of a run that recovered.",
        labels=["procedure"],
    )
    mended = [r for r in figures if r.outcome == RECOVERED and r.ended_at and not r.dry_run]
    for procedure in sorted({r.procedure for r in mended}):
        mine = [r for r in mended if r.procedure == procedure]
        took = [(r.ended_at - (r.trouble_at or r.started_at)).total_seconds() for r in mine if r.ended_at]
        family.add_metric([procedure], len(took), sum(took))
    return family


def of_alerts(seen: Figures) -> Iterator[Metric]:
    """Count alerts, and how often they were delivered."""
    labels = ["source", "status"]
    distinct = CounterMetricFamily("salvor_alerts", "Alerts stored, each once.", labels=labels)
    deliveries = CounterMetricFamily("salvor_alert_deliveries", "Alerts delivered, repetitions too.", labels=labels)
    for figure in seen.alerts:
        distinct.add_metric([figure.source, figure.status], figure.alerts)
        deliveries.add_metric([figure.source, figure.status], figure.deliveries)
    yield from (distinct, deliveries)


def of_backups(seen: Figures, stands: dict[str, Standing]) -> Iterator[Metric]:
    """Measure what a disaster would cost now: what has arrived, how old the newest set is, what practice has shown."""
    said = "Seconds since everything written had arrived in the backup repository: what is lost with the primary."
    wal = GaugeMetricFamily("salvor_wal_age_seconds", said, labels=["target"])
    for resource, seconds in seen.position_age_seconds.items():
        if resource.startswith(ARCHIVE):
            wal.add_metric([resource.removeprefix(ARCHIVE)], max(0.0, seconds))
    kept = GaugeMetricFamily("salvor_set_age_seconds", "Age of the newest good set.", labels=["target"])
    drill = GaugeMetricFamily("salvor_drill_age_seconds", "Since a recovery last passed.", labels=["target"])
    rto = GaugeMetricFamily("salvor_drill_rto_seconds", "Seconds until writes, in that recovery.", labels=["target"])
    for target, each in sorted(stands.items()):
        if each.newest_at:
            kept.add_metric([target], (seen.at - each.newest_at).total_seconds())
        if each.passed_at:
            drill.add_metric([target], (seen.at - each.passed_at).total_seconds())
        if each.rto_seconds is not None:
            rto.add_metric([target], each.rto_seconds)
    yield from (wal, kept, drill, rto)


def of_outbox(seen: Figures) -> Iterator[Metric]:
    """Measure the backlog of what must still reach Prefect or a person."""
    waiting = GaugeMetricFamily("salvor_outbox_waiting", "Parcels to be delivered.", labels=["kind"])
    failing = GaugeMetricFamily("salvor_outbox_failing", "Parcels of these that failed before.", labels=["kind"])
    oldest = GaugeMetricFamily("salvor_outbox_oldest_seconds", "Age of the oldest of these.", labels=["kind"])
    for figure in seen.outbox:
        waiting.add_metric([figure.kind], figure.waiting)
        failing.add_metric([figure.kind], figure.failing)
        oldest.add_metric([figure.kind], figure.oldest_seconds)
    yield from (waiting, failing, oldest)


class Metrics:
    """The registry of one receiver; the process-wide default one stays untouched."""

    def __init__(self, ledger: Ledger) -> None:
        """Count the ledger at every scrape and the requests as they come."""
        self.registry = CollectorRegistry()
        self.registry.register(LedgerCollector(ledger))
        self.requests = Counter(
            "salvor_receiver_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
