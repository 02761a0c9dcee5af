"""Trading halts for tests: short to write, random, and timelines that have them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import TradingStatus
from onetape.marketdata.contract_steps import order_steps
from onetape.marketdata.timeline import Timeline
from tests.support.actions import timeline_bars
from tests.support.timelines import AAPL


def make_status(
    ts: int, *, halted: bool = True, reason: str = "", instrument: InstrumentId = AAPL
) -> TradingStatus:
    """A status from `ts` (ns UTC) on."""
    return TradingStatus(
        instrument=instrument, ts_event=ts, ts_known=ts, is_halted=halted, reason=reason
    )


def make_halt(
    begin: int, end: int, reason: str = "", instrument: InstrumentId = AAPL
) -> list[TradingStatus]:
    """A halt from `begin` to `end` (ns UTC)."""
    resumed = make_status(end, halted=False, instrument=instrument)
    return [make_status(begin, reason=reason, instrument=instrument), resumed]


def with_halts(timeline: Timeline, statuses: Sequence[TradingStatus]) -> Timeline:
    """The same market data of any kind with these statuses beside it."""
    series = [(each, timeline_bars(timeline, each.id)) for each in timeline.instruments]
    return Timeline(
        timeline.instruments,
        timeline.instrument_index,
        timeline.columns,
        {each.id: timeline.rows_of(each.id) for each in timeline.instruments},
        datasets=timeline.datasets,
        source=timeline.source,
        timeframe=timeline.timeframe,
        kind=timeline.kind,
        actions=timeline.actions,
        action_pins=timeline.action_pins,
        steps=order_steps(statuses, series),
    )


def make_random_halts(chance: random.Random, timeline: Timeline) -> list[TradingStatus]:
    """Up to three halts of each instrument at any times, the last of which may not end."""
    found: list[TradingStatus] = []
    for each in timeline.instruments:
        rows = timeline.rows_of(each.id)
        begin, end = (int(timeline.columns["ts_close"][rows[at]]) for at in (0, -1))
        times = sorted(chance.sample(range(begin, end, 1_000_000), 2 * chance.randint(1, 3)))
        for at in range(0, len(times), 2):
            found += make_halt(times[at], times[at + 1], "LUDP", each.id)
        if chance.random() < 0.3:
            found.pop()
    return found
