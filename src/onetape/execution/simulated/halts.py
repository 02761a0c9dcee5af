"""When instruments are halted, as their venue knows it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import TradingStatus
from onetape.domain.numbers import INT64_MAX
from onetape.domain.rules import rule


@rule
def compute_traded_span(
    ts_open: int, ts_close: int, ts_resumed: int, ts_halted: int
) -> tuple[int, int]:
    """The part of a bar from which all its prices are: (begin, end) in ns; (0, 0): there is none.

    Fills when: never; it says where a bar that touches a halt begins and ends.
    Ignores: a halt that begins and ends inside the bar, on both sides of which it has prices.
    Units: ns. `ts_resumed` is when trading goes on, where the bar opens in a halt, else 0;
        `ts_halted` since when it is halted, where it closes in one, else the largest int64.
    Source: ours; a halted market trades nothing.
    """
    begin = max(ts_open, ts_resumed)
    end = min(ts_close, ts_halted)
    if begin >= end:
        return 0, 0
    return begin, end


class TradedSpan(NamedTuple):
    """From when to when a bar's prices are; `ends_halted`: it has no price of its close."""

    ts_open: int
    ts_close: int
    ends_halted: bool


class TradingHalts:
    """The statuses of a session by the time at which they happened.

    A status counts from its time on, that included.

    Args:
        statuses: In the order of time for each instrument.
    """

    __slots__ = ("_statuses", "_times")

    def __init__(self, statuses: Iterable[TradingStatus]) -> None:
        self._statuses: dict[InstrumentId, list[TradingStatus]] = {}
        for each in statuses:
            self._statuses.setdefault(each.instrument, []).append(each)
        self._times: Mapping[InstrumentId, list[int]] = {
            name: [each.ts_event for each in own] for name, own in self._statuses.items()
        }

    def find(self, instrument: InstrumentId, ts: int) -> TradingStatus | None:
        """The status under which an instrument is halted at `ts` (ns UTC); None: it trades."""
        at = bisect_right(self._times.get(instrument, ()), ts)
        newest = self._statuses[instrument][at - 1] if at else None
        return newest if newest is not None and newest.is_halted else None

    def find_span(self, instrument: InstrumentId, ts_open: int, ts_close: int) -> TradedSpan | None:
        """The part of a bar [`ts_open`, `ts_close`) that traded; None: it was halted throughout."""
        resumed, halted = 0, INT64_MAX
        if self.find(instrument, ts_open) is not None:
            resumed = self._next_resumption(instrument, ts_open)
        if self.find(instrument, ts_close - 1) is not None:
            halted = self._newest_halt(instrument, ts_close - 1)
        begin, end = compute_traded_span(ts_open, ts_close, resumed, halted)
        return TradedSpan(begin, end, halted != INT64_MAX) if end else None

    def _next_resumption(self, instrument: InstrumentId, ts: int) -> int:
        times, statuses = self._times[instrument], self._statuses[instrument]
        for at in range(bisect_right(times, ts), len(times)):
            if not statuses[at].is_halted:
                return times[at]
        return INT64_MAX

    def _newest_halt(self, instrument: InstrumentId, ts: int) -> int:
        """Since when the halt is in force at `ts`; one that is told again goes on."""
        times, statuses = self._times[instrument], self._statuses[instrument]
        at = bisect_right(times, ts) - 1
        while at and statuses[at - 1].is_halted:
            at -= 1
        return times[at]
