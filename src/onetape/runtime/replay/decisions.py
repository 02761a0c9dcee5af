"""What two runs on the same inputs decided, made comparable.

A decision is an intent or a signal. Two are the same when time, strategy and content are; what only
counts (seqs, numbers of intents, and the ids of orders that are made of them) is left out, because
an intent that came to nothing moves it. An order is told by which order of its strategy it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import msgspec

from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    OrderDenied,
    OrderFilled,
    OrderSubmitted,
    Payload,
    PositionAdjusted,
    PositionSettled,
    SessionStarted,
    SignalRecorded,
    StrategyQuarantined,
)
from onetape.domain.orders import (
    CancelIntent,
    ConvertIntent,
    ExerciseIntent,
    OrderIntent,
    ReplaceIntent,
)
from onetape.portfolio.equity_curve import TimedAccountEvent
from onetape.tape.block import Record

_encode = msgspec.msgpack.Encoder().encode


class _Numbering:
    """Takes out of payloads what only counts; each side has its own."""

    def __init__(self) -> None:
        self._orders: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._session = ""

    def content(self, payload: Payload) -> bytes:
        """The bytes of a payload without its counting parts. Call it once, in the tape's order."""
        changes: dict[str, Any] = {}
        if isinstance(payload, SessionStarted):
            self._session = payload.session[:8]
        if isinstance(payload, OrderIntent):
            strategy = payload.strategy
            self._counts[strategy] = count = self._counts.get(strategy, 0) + 1
            identity = f"{self._session}-{strategy}-{payload.intent}"
            self._orders[identity] = f"order {count} of {strategy}"
        if hasattr(payload, "intent"):
            changes["intent"] = 0
        identity = getattr(payload, "client_order_id", None)
        if identity is not None:
            changes["client_order_id"] = self._orders.get(identity, identity)
        return _encode(msgspec.structs.replace(payload, **changes) if changes else payload)


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What was decided when (ns UTC): its content as bytes, and its seq on its side."""

    ts: int
    content: bytes
    seq: int


class Fold:
    """One side in one pass: its decisions, counts and account events."""

    def __init__(self, records: Iterator[Record]) -> None:
        self.decisions: dict[str, list[Decision]] = {}
        self.ts = 0
        self.orders = self.fills = self.denials = 0
        self.account: list[TimedAccountEvent] = []
        self.quarantined: list[StrategyQuarantined] = []
        numbering = _Numbering()
        for record in records:
            self.ts = record.ts
            for seq, (payload, _, _) in enumerate(record.events, record.first_seq):
                self._take(record.ts, seq, payload, numbering)

    def _take(self, ts: int, seq: int, payload: Payload, numbering: _Numbering) -> None:
        match payload:
            case SessionStarted():
                numbering.content(payload)
            case CapitalDeposited():
                self.decisions.setdefault(payload.strategy, [])
                self.account.append((ts, payload))
            case PositionAdjusted() | PositionSettled() | CashPosted():
                self.account.append((ts, payload))
            case OrderFilled():
                self.fills += 1
                self.account.append((ts, payload))
            case OrderSubmitted():
                self.orders += 1
            case OrderDenied():
                self.denials += 1
            case StrategyQuarantined():
                self.quarantined.append(payload)
            case (
                OrderIntent()
                | CancelIntent()
                | ReplaceIntent()
                | ExerciseIntent()
                | ConvertIntent()
                | SignalRecorded()
            ):
                made = Decision(ts, numbering.content(payload), seq)
                self.decisions.setdefault(payload.strategy, []).append(made)
            case _:
                pass


class Found(msgspec.Struct, frozen=True):
    """Where two sides part: seqs of what each has there, or else (`*_next`) of what comes next."""

    ts: int
    strategy: str
    tape: int | None
    other: int | None
    tape_next: int | None = None
    other_next: int | None = None


def first_parting(tape: Fold, other: Fold) -> Found | None:
    """The first decision that differs, if one does."""
    found: list[Found] = []
    for strategy in {**tape.decisions, **other.decisions}:
        pairs = zip_longest(tape.decisions.get(strategy, ()), other.decisions.get(strategy, ()))
        for one, two in pairs:
            if one is None or two is None or (one.ts, one.content) != (two.ts, two.content):
                found.append(_parting(strategy, one, two))
                break
    return min(found, key=lambda each: each.ts, default=None)


def _parting(strategy: str, one: Decision | None, two: Decision | None) -> Found:
    ts = min(each.ts for each in (one, two) if each is not None)
    here = [each.seq if each and each.ts == ts else None for each in (one, two)]
    later = [each.seq if each and each.ts > ts else None for each in (one, two)]
    return Found(ts, strategy, *here, *later)


def first_difference(tape: Iterator[Record], other: Iterator[Record]) -> Found | None:
    """The first event that differs, what the session is told (header, capital) left out."""
    for one, two in zip_longest(_contents(tape), _contents(other)):
        if one is None or two is None or (one.ts, one.content) != (two.ts, two.content):
            return _parting("", one, two)
    return None


def _contents(records: Iterator[Record]) -> Iterator[Decision]:
    numbering = _Numbering()
    for record in records:
        for seq, (payload, _, _) in enumerate(record.events, record.first_seq):
            content = numbering.content(payload)
            if not isinstance(payload, SessionStarted | CapitalDeposited):
                yield Decision(record.ts, content, seq)
