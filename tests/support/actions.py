"""Corporate actions for tests: short to write, random, and worlds that have them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.timeline import Timeline, build_timeline, build_trade_timeline
from onetape.marketdata.trades import TRADE_COLUMNS
from tests.support.random_strategies import World
from tests.support.timelines import AAPL

SPLIT, DIVIDEND, DELISTING = (
    CorporateActionKind.SPLIT, CorporateActionKind.CASH_DIVIDEND, CorporateActionKind.DELISTING
)  # fmt: skip


def make_action(
    kind: CorporateActionKind,
    ts: int,
    value: float,
    divisor: float = 1.0,
    instrument: InstrumentId = AAPL,
) -> CorporateAction:
    """An action at `ts` (ns UTC)."""
    return CorporateAction(
        instrument=instrument, kind=kind, ts_event=ts, ts_known=ts, value=value, divisor=divisor
    )


def series_of(timeline: Timeline) -> list[tuple[Instrument, BarColumns]]:
    """The columns of each instrument."""
    names = TRADE_COLUMNS if timeline.kind == "trades" else timeline.columns
    return [
        (each, {name: timeline.columns[name][timeline.rows_of(each.id)] for name in names})
        for each in timeline.instruments
    ]


def with_actions(timeline: Timeline, actions: Sequence[CorporateAction]) -> Timeline:
    """The same market data with these actions instead of its own."""
    series = series_of(timeline)
    if timeline.kind == "trades":
        return build_trade_timeline(series, source=timeline.source, actions=actions)
    return build_timeline(
        series, source=timeline.source, timeframe=timeline.timeframe, actions=actions
    )


def make_random_actions(chance: random.Random, timeline: Timeline) -> list[CorporateAction]:
    """Up to three actions of each instrument, at bar opens, and sometimes its delisting."""
    actions: list[CorporateAction] = []
    for instrument, _ in series_of(timeline):
        rows = timeline.rows_of(instrument.id)
        opens = timeline.columns["ts_open"][rows].tolist()
        places = sorted(chance.sample(opens[1:], min(3, len(opens) - 1)))
        for number, ts in enumerate(places):
            if number == len(places) - 1 and chance.random() < 0.3:
                kind, value, divisor = DELISTING, chance.choice((0.0, 7.5)), 1.0
            elif chance.random() < 0.5:
                kind, value, divisor = DIVIDEND, chance.choice((0.25, 0.01, 1.3)), 1.0
            else:
                kind = SPLIT
                value, divisor = chance.choice(
                    ((2.0, 1.0), (1.0, 10.0), (3.0, 2.0), (1.0, 0.1428572), (1.0, 3.0))
                )
            actions.append(make_action(kind, ts, value, divisor, instrument.id))
    return actions


def add_random_actions(world: World) -> World:
    """The world of a seed with actions of that seed."""
    chance = random.Random(f"actions {world.seed}")
    actions = make_random_actions(chance, world.timeline)
    timeline = with_actions(world.timeline, actions)
    return World(world.seed, timeline, world.terms, world.limits)
