"""Whether a primary is lost. Pure: what the probes saw goes in, with its times, and a verdict comes out.

A primary is lost when all of this holds, and each of it is there because its absence has cost somebody data:
  * k probes in a row missed it. A refused connection is a fact and counts at once; silence counts once per interval,
    for a second of a busy network is no death.
  * no standby hears from it. When one does, the primary lives and only we cannot reach it: that is a routing problem,
    and promoting would make two primaries.
  * a majority of the cluster is visible. The sentinel has a vote: in a cluster of two, it and the standby are two of
    three. Without it, it is we who are cut off.
  * nobody takes writes: then a failover has been done already.
  * it is neither starting nor merely not letting us in: a process that answers "no" is alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from tasks.model import Frozen
from tasks.postgres.state import Receiver

#: A probe that came back so much later than its deadline says that the sentinel itself was stopped, and nothing else.
STALL_SECONDS = 0.25
#: So long after the first miss the primary is looked at more often; then it is a long outage, and the pace is normal.
ALARM_SECONDS = 10.0


class Pace(Frozen):
    """How often is looked, and how many misses are enough."""

    interval_seconds: float = 0.5
    deadline_seconds: float = 0.5
    alarmed_seconds: float = 0.1
    misses: int = Field(default=3, ge=2)
    rearm_seconds: float = 30.0

    @property
    def fresh_seconds(self) -> float:
        """Age up to which an answer describes the present."""
        return self.interval_seconds + self.deadline_seconds + STALL_SECONDS


class Said(Frozen):
    """What a server answered."""

    in_recovery: bool
    system_identifier: str
    timeline: int
    lsn: int
    synchronous_standby_names: str = ""
    streaming: tuple[str, ...] = ()
    receiver: Receiver | None = None

    @property
    def hears(self) -> bool:
        """Whether this standby's upstream is alive, as far as it can know.

        A WAL receiver asks its upstream for a sign of life after half of wal_receiver_timeout, so a healthy stream is
        never silent for longer, however idle. Receiver.streaming allows that and half a second more, 1.5 s at least.
        """
        return self.receiver is not None and self.receiver.streaming


class Sight(Frozen):
    """One probe of one node, in seconds of one steady clock."""

    node: str
    began: float
    ended: float
    answer: Literal["answered", "starting", "refused", "silent", "denied"]
    problem: str = ""
    said: Said | None = None

    @property
    def writable(self) -> bool:
        """Whether it answered as a primary."""
        return self.said is not None and not self.said.in_recovery

    @property
    def missed(self) -> bool:
        """Whether nobody was there."""
        return self.answer in ("refused", "silent")


class Track(Frozen):
    """What is remembered of one node."""

    latest: Sight | None = None
    missed: int = 0
    first_miss: float | None = None  #: when the first of these misses was known
    counted: float = 0.0  #: when the last counted miss was begun
    writable: int = 0  #: answers as a primary in a row
    last_writable: float | None = None


class Watch(Frozen):
    """What the sentinel has in mind about one cluster."""

    tracks: dict[str, Track]
    primary: str = ""
    timeline: int = 0
    system_identifier: str = ""


class Verdict(Frozen):
    """What that means."""

    kind: Literal["healthy", "waiting", "lost", "conflicted"]
    why: str
    node: str = ""  #: the primary, alive or lost
    last_good: float | None = None
    first_miss: float | None = None


def begin(nodes: tuple[str, ...], primary: str = "", timeline: int = 0, system_identifier: str = "") -> Watch:
    """Begin to watch; PRIMARY and TIMELINE as the ledger remembers them, so that a death before our birth is seen."""
    known = primary if primary in nodes else ""
    tracks = {n: Track() for n in nodes}
    return Watch(tracks=tracks, primary=known, timeline=timeline, system_identifier=system_identifier)


def note(watch: Watch, sight: Sight, pace: Pace) -> Watch:
    """Take one probe into account."""
    track = watch.tracks.get(sight.node)
    slept = sight.ended - sight.began > pace.deadline_seconds + STALL_SECONDS
    # Probes overlap: one that began earlier must not overrule what a later one has already seen.
    if track is None or slept or (track.latest and sight.began < track.latest.began):
        return watch
    tracks = watch.tracks | {sight.node: remember(track, sight, pace)}
    watch = watch.model_copy(update={"tracks": tracks})
    if sight.said:
        watch = watch.model_copy(update={"system_identifier": sight.said.system_identifier})
    if sight.said and sight.writable and sight.said.timeline >= watch.timeline:
        watch = moved(watch, sight.node, sight.said.timeline)
    return watch


def moved(watch: Watch, primary: str, timeline: int) -> Watch:
    """Take PRIMARY for the primary; when that is a failover, what the old one answered before it counts no more."""
    tracks = watch.tracks
    if timeline > watch.timeline:
        tracks = {n: t if n == primary else t.model_copy(update={"writable": 0}) for n, t in tracks.items()}
    return watch.model_copy(update={"primary": primary, "timeline": timeline, "tracks": tracks})


def remember(track: Track, sight: Sight, pace: Pace) -> Track:
    """Count a miss, or begin anew."""
    if not sight.missed:
        if sight.writable:
            return Track(latest=sight, writable=track.writable + 1, last_writable=sight.ended)
        return Track(latest=sight, last_writable=track.last_writable)
    apart = pace.interval_seconds if sight.answer == "silent" else pace.alarmed_seconds
    # Timers are not exact: a tenth of the distance is forgiven.
    counts = track.missed == 0 or sight.began - track.counted >= 0.9 * apart
    return Track(
        latest=sight,
        missed=track.missed + counts,
        first_miss=sight.ended if track.first_miss is None else track.first_miss,
        counted=sight.began if counts else track.counted,
        last_writable=track.last_writable,
    )


def judge(watch: Watch, now: float, pace: Pace) -> Verdict:
    """Say how the cluster is."""
    seen = present(watch, now, pace)
    if why := conflict(watch, seen, pace):
        return Verdict(kind="conflicted", why=why, node=watch.primary)
    writable = [n for n, s in seen.items() if s.said and s.writable and s.said.timeline >= watch.timeline]
    if writable:
        return Verdict(kind="healthy", why=f"{writable[0]} takes writes.", node=writable[0])
    name = suspect(watch, seen)
    if not name:
        return Verdict(kind="waiting", why="Nobody takes writes, and which node did is not known.")
    track = watch.tracks[name]
    times = {"last_good": track.last_writable, "first_miss": track.first_miss}
    if why := doubt(name, track, seen, watch, pace):
        return Verdict(kind="waiting", why=why, node=name, **times)
    return Verdict(kind="lost", why=evidence(name, track, seen, now), node=name, **times)


def present(watch: Watch, now: float, pace: Pace) -> dict[str, Sight]:
    """Return the latest sight of every node, unless it is too old to describe the present."""
    latest = {n: t.latest for n, t in watch.tracks.items() if t.latest}
    return {n: s for n, s in latest.items() if now - s.ended <= pace.fresh_seconds}


def conflict(watch: Watch, seen: Mapping[str, Sight], pace: Pace) -> str:
    """Say that two nodes take writes, or one that a failover has left behind; each was seen k times in a row.

    During a switchover the old primary's last answer may lie beside the new one's first; k more of it cannot.
    """
    firm = {n: s.said.timeline for n, s in seen.items() if s.said and watch.tracks[n].writable >= pace.misses}
    behind = [n for n, timeline in firm.items() if timeline < watch.timeline]
    if len(firm) < 2 and not behind:  # noqa: PLR2004 - two are the smallest conflict
        return ""
    said = " and ".join(f"{n} (timeline {timeline})" for n, timeline in firm.items())
    left = f"; the cluster has gone on to timeline {watch.timeline}" if behind else ""
    return f"{said} take{'s' if len(firm) == 1 else ''} writes{left}. Decide which is right and stop the other by hand."


def suspect(watch: Watch, seen: Mapping[str, Sight]) -> str:
    """Name the node that should be primary: the last one that was, else the only one that is no standby."""
    if watch.primary:
        return watch.primary
    others = [n for n in watch.tracks if not (n in seen and seen[n].said)]
    return others[0] if len(others) == 1 else ""


def doubt(name: str, track: Track, seen: Mapping[str, Sight], watch: Watch, pace: Pace) -> str:
    """Say why NAME must not be called lost, or not yet; empty when nothing speaks against it."""
    sight = seen.get(name)
    if sight is None:
        return f"{name} has not been looked at."
    if left := [n for n, s in seen.items() if s.writable]:
        return f"{left[0]} takes writes, though the cluster has gone on to timeline {watch.timeline} without it."
    if not sight.missed:
        return f"{name} is there, but takes no writes ({sight.problem or 'it is in recovery'})."
    if track.missed < pace.misses:
        return f"{name} missed {track.missed} of {pace.misses} probes ({sight.problem})."
    standbys = {n: s.said for n, s in seen.items() if s.said and s.said.in_recovery}
    if hidden := [n for n, s in standbys.items() if s.receiver and s.receiver.status == "hidden"]:
        return f"{hidden[0]} does not show its WAL receiver: GRANT pg_monitor to the role of the PostgresCluster block."
    if hearing := [n for n, s in standbys.items() if s.hears]:
        return f"{name} still talks to {', '.join(hearing)}: it lives, and only we cannot reach it. Mend that route."
    # The sentinel votes too: more than half of the nodes and itself.
    if 2 * (len(standbys) + 1) <= len(watch.tracks) + 1:
        return f"Only {len(standbys)} of {len(watch.tracks)} nodes can be seen: it may be we who are cut off."
    return ""


def evidence(name: str, track: Track, seen: Mapping[str, Sight], now: float) -> str:
    """Say in one sentence what the verdict rests on, with its times."""
    standbys = ", ".join(n for n, s in seen.items() if s.said)
    since = f", last seen writable {now - track.last_writable:.2f} s ago" if track.last_writable is not None else ""
    missed = f" over {now - track.first_miss:.2f} s" if track.first_miss is not None else ""
    how = f"{name} refused" if seen[name].answer == "refused" else f"{name} left unanswered"
    return f"{how} {track.missed} probes{missed}{since}; {standbys} answer and hear nothing from it."


def next_look(watch: Watch, now: float, pace: Pace) -> float:
    """Return the seconds until the next round: short while something is amiss and has not been for long."""
    track = watch.tracks.get(watch.primary)
    alarmed = track is not None and track.first_miss is not None and now - track.first_miss < ALARM_SECONDS
    return pace.alarmed_seconds if alarmed else pace.interval_seconds


def attempt(elapsed_seconds: float, pace: Pace) -> int:
    """Return which announcement is due after a loss has lasted so long: the waits double, from the re-arm interval."""
    number, edge = 0, pace.rearm_seconds
    while elapsed_seconds >= edge:
        number, edge = number + 1, 2 * edge + pace.rearm_seconds
    return number
