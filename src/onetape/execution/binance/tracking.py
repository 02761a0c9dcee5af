"""What the gateway remembers of orders, and what an event of the venue means with it.

An order of ours may be several at Binance, one after the other: each change but a smaller quantity
cancels one and makes its successor (a generation). To us they are one order.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from onetape.domain.instrument import Instrument
from onetape.domain.timestamps import NS_PER_MS
from onetape.domain.venue import ReportKind, VenueReport
from onetape.execution.binance.order_ids import OrderIds
from onetape.execution.binance.wire import CLOSED, read_fill, read_side
from onetape.marketdata.feeds.binance_instruments import to_lots, to_ticks

_REMEMBERED = 20_000


class Tracked(msgspec.Struct, kw_only=True):
    """An open order of ours.

    Attributes:
        lots: Its total as far as we know.
        generation: Which successor of the first one it is at the venue.
        earlier_lots: What the generations before this one have filled.
        filled_lots: What this one has.
        is_told: Its acceptance was told.
        is_waiting: Its stop has not met its price.
        is_changing: A replace is under way, whose answer says what a cancel means.
        is_doubtful: A replace was not answered: a cancel may be half of it, `look` finds out.
        ended: Set when its end was told.
        commands: Submits and replaces that were begun; until they are `quiet` the venue may show
            the order half done.
    """

    lots: int
    limit_ticks: int
    stop_ticks: int
    generation: int = 0
    earlier_lots: int = 0
    filled_lots: int = 0
    venue_order_id: str = ""
    is_told: bool = False
    is_waiting: bool = False
    is_changing: bool = False
    is_doubtful: bool = False
    ended: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    commands: int = 0
    quiet: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.quiet.set()

    @contextmanager
    def sending(self) -> Generator[None]:
        """While it is submitted or replaced; the commands of an order go one after another."""
        self.commands += 1
        self.quiet.clear()
        try:
            yield
        finally:
            self.quiet.set()

    @property
    def all_filled_lots(self) -> int:
        """Filled lots of the order."""
        return self.earlier_lots + self.filled_lots


class OrderBookOfOurs:
    """The open orders of the gateway, and the ids of the last ones that were."""

    def __init__(self, ids: OrderIds, instruments: Mapping[str, Instrument]) -> None:
        self.ids = ids
        self.by_symbol = instruments
        self.open: dict[str, Tracked] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._names: OrderedDict[tuple[str, str], str] = OrderedDict()

    def is_ended(self, client_order_id: str) -> bool:
        """Whether its end was told."""
        return client_order_id in self._ended

    def end(self, client_order_id: str) -> None:
        """Its end was told."""
        tracked = self.open.pop(client_order_id, None)
        if tracked is not None:
            tracked.ended.set()
        self._ended[client_order_id] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)

    def name(self, symbol: str, venue_order_id: str) -> str | None:
        """The venue's client order id of an order of its number; None: not known."""
        return self._names.get((symbol, venue_order_id))

    def remember_name(self, symbol: str, venue_order_id: str, wire_id: str) -> None:
        """Keep which id an order of this number has."""
        self._names[symbol, venue_order_id] = wire_id
        if len(self._names) > _REMEMBERED:
            self._names.popitem(last=False)

    def succeed(
        self, tracked: Tracked, generation: int, venue_order_id: str, filled_lots: int
    ) -> None:
        """A successor is there; the one before filled `filled_lots`."""
        tracked.earlier_lots += filled_lots
        tracked.generation = generation
        tracked.filled_lots = 0
        tracked.venue_order_id = venue_order_id
        tracked.is_told = True
        tracked.is_doubtful = False

    def read(self, event: dict[str, Any]) -> list[VenueReport]:
        """What an `executionReport` says; empty for what is known or belongs to a replace."""
        instrument = self.by_symbol.get(event["s"])
        if instrument is None:
            return []
        original = event.get("C") or ""
        wire_id = event["c"] if original in ("", "null") else original
        self.remember_name(event["s"], str(event["i"]), wire_id)
        identity, generation = self.ids.from_wire(wire_id, event["s"], str(event["i"]))
        tracked = self.open.get(identity)
        if tracked is None:
            return self._read_unknown(instrument, event, identity, generation)
        if generation < tracked.generation:  # told already, but a late fill is one
            return [read_fill(instrument, event, identity, -1)] if event["x"] == "TRADE" else []
        reports: list[VenueReport] = []
        if generation > tracked.generation and event["x"] != "REJECTED":
            reports += self._adopt(instrument, event, identity, tracked, generation)
        return reports + self._read_ours(instrument, event, identity, tracked)

    def _adopt(self, instrument: Instrument, event: dict[str, Any], identity: str,
               tracked: Tracked, generation: int) -> list[VenueReport]:  # fmt: skip
        """A successor that we hear of before the answer to our replace, or instead of it."""
        self.succeed(tracked, generation, str(event["i"]), tracked.filled_lots)
        return [self.make_replaced(instrument, event, identity, tracked)]

    def make_replaced(self, instrument: Instrument, event: dict[str, Any], identity: str,
                      tracked: Tracked) -> VenueReport:  # fmt: skip
        """The order has the fields of this event now."""
        side = read_side(event["S"])
        prevented = to_lots(instrument, event.get("A", "0"))
        tracked.lots = to_lots(instrument, event["q"]) + tracked.earlier_lots - prevented
        tracked.limit_ticks = to_ticks(instrument, event["p"], side)
        tracked.stop_ticks = to_ticks(instrument, event["P"], side)
        return VenueReport(
            kind=ReportKind.REPLACED, client_order_id=identity, instrument=instrument.id,
            side=side, venue_order_id=str(event["i"]), ts_venue=int(event["T"]) * NS_PER_MS,
            lots=tracked.lots, limit_ticks=tracked.limit_ticks, stop_ticks=tracked.stop_ticks,
            filled_lots=tracked.all_filled_lots,
        )  # fmt: skip

    def _read_ours(self, instrument: Instrument, event: dict[str, Any], identity: str,
                   tracked: Tracked) -> list[VenueReport]:  # fmt: skip
        tracked.filled_lots = max(tracked.filled_lots, to_lots(instrument, event["z"]))
        tracked.venue_order_id = str(event["i"])
        reports: list[VenueReport] = []
        match event["x"]:
            case "NEW":
                reports += self._accept(instrument, event, identity, tracked)
                if tracked.is_waiting and event.get("w"):
                    reports += self._trigger(instrument, event, identity, tracked)
            case "TRADE":
                reports += self._accept(instrument, event, identity, tracked)
                reports += self._trigger(instrument, event, identity, tracked)
                filled = tracked.all_filled_lots
                reports.append(read_fill(instrument, event, identity, filled))
                if event["X"] == "FILLED":
                    self.end(identity)
            case "REPLACED":
                was = tracked.lots
                report = self.make_replaced(instrument, event, identity, tracked)
                reports += [report] if report.lots != was else []
            case "TRADE_PREVENTION" if event["X"] not in CLOSED:
                reports.append(self.make_replaced(instrument, event, identity, tracked))
            case "REJECTED" if event["X"] == "REJECTED" and tracked.is_changing:
                pass  # the answer to the replace tells
            case "CANCELED" if tracked.is_changing or tracked.is_doubtful:
                pass
            case _:
                reports.append(_end_report(instrument, event, identity, tracked.all_filled_lots))
                self.end(identity)
        return reports

    def _accept(self, instrument: Instrument, event: dict[str, Any], identity: str,
                tracked: Tracked) -> list[VenueReport]:  # fmt: skip
        if tracked.is_told:
            return []
        tracked.is_told = True
        tracked.is_waiting = tracked.stop_ticks > 0 and not event.get("w")
        return [make_report(ReportKind.ACCEPTED, instrument, event, identity)]

    def _trigger(self, instrument: Instrument, event: dict[str, Any], identity: str,
                 tracked: Tracked) -> list[VenueReport]:  # fmt: skip
        if not tracked.is_waiting:
            return []
        tracked.is_waiting = False
        return [make_report(ReportKind.TRIGGERED, instrument, event, identity)]

    def _read_unknown(self, instrument: Instrument, event: dict[str, Any], identity: str,
                      generation: int) -> list[VenueReport]:  # fmt: skip
        """Of an order of ours that is not open any more, or was not since we began."""
        if event["x"] == "TRADE":
            filled = -1 if generation else to_lots(instrument, event["z"])
            return [read_fill(instrument, event, identity, filled)]
        if self.is_ended(identity) or generation:
            return []  # `look` says what became of a successor that we don't follow
        if event["x"] == "NEW":
            return [make_report(ReportKind.ACCEPTED, instrument, event, identity)]
        if event["X"] in CLOSED:
            lots = to_lots(instrument, event["z"])
            return [_end_report(instrument, event, identity, lots)]
        return []


def make_report(
    kind: ReportKind, instrument: Instrument, event: dict[str, Any], identity: str
) -> VenueReport:
    """A report without fields of its own from an `executionReport`."""
    return VenueReport(
        kind=kind, client_order_id=identity, instrument=instrument.id, side=read_side(event["S"]),
        venue_order_id=str(event["i"]), ts_venue=int(event["T"]) * NS_PER_MS,
    )  # fmt: skip


def _end_report(
    instrument: Instrument, event: dict[str, Any], identity: str, filled_lots: int
) -> VenueReport:
    kind = CLOSED.get(event["X"], ReportKind.CANCELED)
    why = event.get("r") or "NONE"
    return VenueReport(
        kind=kind, client_order_id=identity, instrument=instrument.id, side=read_side(event["S"]),
        venue_order_id=str(event["i"]), ts_venue=int(event["T"]) * NS_PER_MS,
        filled_lots=filled_lots, reason=event["X"] if why == "NONE" else f"{event['X']}: {why}",
    )  # fmt: skip
