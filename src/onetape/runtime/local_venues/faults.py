"""What goes wrong at a local venue, and when: from a seed, and the same each time.

A schedule is asked at five places: before a request is carried out, before its answer leaves, for
each message of a stream, after each row, and for the parts of a fill. Its answer depends on the
seed, the place, the subject (such as `POST /v2/orders`) and how often it was asked for that
subject; never on clocks or on the order in which subjects come. Faults come in limited numbers and
never too many in a row, so that whoever tries again gets through; and they end.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from enum import Enum

import msgspec

from onetape.domain.numbers import INT64_MAX
from onetape.execution.simulated.latency import compute_hash32, compute_latency_key

_MASK_32 = 0xFFFF_FFFF


class FaultKind(Enum):
    """What goes wrong.

    | kind          | place   | what                                                  | value      |
    | ------------- | ------- | ----------------------------------------------------- | ---------- |
    | `throttle`    | request | 429 (or the venue's own), with a time to wait         | seconds    |
    | `unavailable` | request | a 5xx; nothing was carried out                        | status     |
    | `reject`      | request | a new order is refused for no reason of its own       |            |
    | `hang`        | request | carried out late                                      | seconds    |
    | `lost_ack`    | answer  | carried out, and the connection closes without answer |            |
    | `late_ack`    | answer  | carried out, and the answer comes late                | seconds    |
    | `vague_ack`   | answer  | carried out, and a 5xx is the answer                  | status     |
    | `drop`        | message | never sent                                            |            |
    | `delay`       | message | sent later; those behind it wait                      | seconds    |
    | `duplicate`   | message | sent twice                                            |            |
    | `reorder`     | message | sent behind the next one                              |            |
    | `half_close`  | message | the connection stays, and nothing comes on it         | seconds    |
    | `disconnect`  | message | the connection closes before it                       |            |
    | `skew`        | row     | the venue's clock is off until the next of these      | seconds    |
    | `restart`     | row     | the server is away; its books stay                    | seconds    |
    | `outage`      | row     | market data is away; orders go on                     | rows       |
    | `split`       | fill    | it comes in small parts                               | parts      |
    """

    THROTTLE = "throttle"
    UNAVAILABLE = "unavailable"
    REJECT = "reject"
    HANG = "hang"
    LOST_ACK = "lost_ack"
    LATE_ACK = "late_ack"
    VAGUE_ACK = "vague_ack"
    DROP = "drop"
    DELAY = "delay"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    HALF_CLOSE = "half_close"
    DISCONNECT = "disconnect"
    SKEW = "skew"
    RESTART = "restart"
    OUTAGE = "outage"
    SPLIT = "split"


class Fault(msgspec.Struct, frozen=True):
    """One thing that goes wrong, and how much; see `FaultKind` for the unit of `value`."""

    kind: FaultKind
    value: float = 0.0


class Decision(msgspec.Struct, frozen=True):
    """A fault that was decided: the `count`-th question about a subject (from 1), at `ts`."""

    place: str
    subject: str
    count: int
    ts: int
    fault: Fault


class FaultRange(msgspec.Struct, frozen=True):
    """How often a kind comes (per thousand questions), with which values, how often at most."""

    per_mille: int
    low: float = 0.0
    high: float = 0.0
    most: int = 1_000


FaultPlan = dict[FaultKind, FaultRange]

_PLACES: dict[str, tuple[FaultKind, ...]] = {
    "request": (
        FaultKind.THROTTLE, FaultKind.UNAVAILABLE, FaultKind.REJECT, FaultKind.HANG,
    ),
    "answer": (FaultKind.LOST_ACK, FaultKind.LATE_ACK, FaultKind.VAGUE_ACK),
    "message": (
        FaultKind.DROP, FaultKind.DELAY, FaultKind.DUPLICATE, FaultKind.REORDER,
        FaultKind.HALF_CLOSE, FaultKind.DISCONNECT,
    ),
    "row": (FaultKind.SKEW, FaultKind.RESTART, FaultKind.OUTAGE),
    "fill": (FaultKind.SPLIT,),
}  # fmt: skip

_WHOLE = frozenset((FaultKind.UNAVAILABLE, FaultKind.VAGUE_ACK, FaultKind.OUTAGE, FaultKind.SPLIT))
_STATUSES = (500, 502, 503, 504)
IN_A_ROW_MAX = 2
"""So many faults of one subject come one behind the other at most."""


def make_plan(*, time_scale: float = 1.0, often: float = 1.0) -> FaultPlan:
    """The usual mixture: everything, each often enough to come in a session of a few hundred rows.

    Args:
        time_scale: Factor of all seconds; 0.01 makes waits of a few milliseconds.
        often: Factor of all rates.
    """

    def rate(
        per_mille: int, low: float = 0.0, high: float = 0.0, most: int = 1_000, *, s: bool = False
    ) -> FaultRange:
        scale = time_scale if s else 1.0
        return FaultRange(min(900, round(per_mille * often)), low * scale, high * scale, most)

    return {
        FaultKind.THROTTLE: rate(30, 0.2, 2.0, s=True),
        FaultKind.UNAVAILABLE: rate(30),
        FaultKind.REJECT: rate(20),
        FaultKind.HANG: rate(30, 0.05, 1.0, s=True),
        FaultKind.LOST_ACK: rate(40),
        FaultKind.LATE_ACK: rate(30, 0.05, 1.0, s=True),
        FaultKind.VAGUE_ACK: rate(20),
        FaultKind.DROP: rate(15),
        FaultKind.DELAY: rate(20, 0.05, 1.0, s=True),
        FaultKind.DUPLICATE: rate(30),
        FaultKind.REORDER: rate(20),
        FaultKind.HALF_CLOSE: rate(3, 1.0, 5.0, 3, s=True),
        FaultKind.DISCONNECT: rate(6, most=10),
        FaultKind.SKEW: rate(5, -3.0, 3.0, 5),
        FaultKind.RESTART: rate(3, 0.2, 2.0, 3, s=True),
        FaultKind.OUTAGE: rate(5, 2, 8, 3),
        FaultKind.SPLIT: rate(200, 2, 9),
    }


class FaultSchedule:
    """Decides, and remembers what it decided.

    Args:
        seed: Another one gives other faults.
        plan: What may happen and how often; see `make_plan`.
        ts_end: Nothing goes wrong from then on (virtual time, ns UTC), so that all can settle.

    Attributes:
        seed: As given; a failing test prints it.
        decisions: The faults so far, in order.
        skew_s: How far the venue's clock is off now.
    """

    def __init__(self, seed: int, plan: FaultPlan, ts_end: int = INT64_MAX) -> None:
        self.seed = seed
        self.decisions: list[Decision] = []
        self.skew_s = 0.0
        self._key = compute_latency_key(seed)
        self._plan = plan
        self._ts_end = ts_end
        self._counts: dict[tuple[str, str], int] = {}
        self._in_a_row: dict[tuple[str, str], int] = {}
        self._used: dict[FaultKind, int] = {}

    def stop(self) -> None:
        """Nothing goes wrong any more, and the clock is right again."""
        self._ts_end = 0
        self.skew_s = 0.0

    def on_request(self, subject: str, ts: int, *, is_order: bool = False) -> Fault | None:
        """Before a request is carried out; only new orders (`is_order`) are rejected."""
        return self._decide("request", subject, ts, () if is_order else (FaultKind.REJECT,))

    def on_answer(self, subject: str, ts: int) -> Fault | None:
        """After a request was carried out, before its answer leaves."""
        return self._decide("answer", subject, ts)

    def on_message(self, stream: str, ts: int) -> Fault | None:
        """Before a message leaves on a stream."""
        return self._decide("message", stream, ts)

    def on_row(self, ts: int) -> Fault | None:
        """After each row. A skew is in `skew_s` from now on."""
        fault = self._decide("row", "row", ts)
        if ts >= self._ts_end:
            self.skew_s = 0.0
        elif fault is not None and fault.kind is FaultKind.SKEW:
            self.skew_s = fault.value
        return fault

    def split_fill(self, lots: int, ts: int) -> Sequence[int]:
        """Parts of a fill of `lots`; their sum is `lots`."""
        fault = self._decide("fill", "fill", ts)
        if fault is None or lots < 2:
            return (lots,)
        count = min(int(fault.value), lots)
        share = lots // count
        return (*(share for _ in range(count - 1)), lots - share * (count - 1))

    def describe(self) -> str:
        """Seed and decisions as lines, for whoever looks at a failure."""
        lines = [f"faults of seed {self.seed}: {len(self.decisions)}"]
        lines += [
            f"  {each.ts} {each.place} {each.subject} #{each.count}: {each.fault.kind.value} "
            f"{each.fault.value:g}"
            for each in self.decisions
        ]
        return "\n".join(lines)

    def _decide(
        self, place: str, subject: str, ts: int, without: tuple[FaultKind, ...] = ()
    ) -> Fault | None:
        key = (place, subject)
        count = self._counts[key] = self._counts.get(key, 0) + 1
        if ts >= self._ts_end:
            return None
        name = zlib.crc32(f"{place} {subject}".encode())
        word = compute_hash32(compute_hash32(self._key ^ name) ^ (count & _MASK_32))
        at = (word * 1_000) >> 32
        before = self._in_a_row.get(key, 0)
        self._in_a_row[key] = 0
        if before >= IN_A_ROW_MAX:
            return None
        for kind in _PLACES[place]:
            chance = self._plan.get(kind)
            if chance is None:
                continue
            at -= chance.per_mille
            if at < 0:
                if kind in without or self._used.get(kind, 0) >= chance.most:
                    return None
                fault = Fault(kind, _draw(kind, chance, compute_hash32(word)))
                self._used[kind] = self._used.get(kind, 0) + 1
                self._in_a_row[key] = before + 1
                self.decisions.append(Decision(place, subject, count, ts, fault))
                return fault
        return None


def _draw(kind: FaultKind, chance: FaultRange, word: int) -> float:
    if kind in (FaultKind.UNAVAILABLE, FaultKind.VAGUE_ACK):
        return float(_STATUSES[word & 3])
    value = chance.low + (chance.high - chance.low) * (word & 0xFFFF) / 0xFFFF
    return float(round(value)) if kind in _WHOLE else round(value, 6)
