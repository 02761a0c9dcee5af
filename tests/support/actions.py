"""Corporate actions for tests: short to write, random, and worlds that have them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.corporate_actions import order_actions, pay_dividend
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.marketdata.trades import TRADE_COLUMNS
from tests.support.random_strategies import World
from tests.support.timelines import AAPL

SPLIT, DIVIDEND, DELISTING = (
    CorporateActionKind.SPLIT, CorporateActionKind.CASH_DIVIDEND, CorporateActionKind.DELISTING
)  # fmt: skip
STOCK_DIVIDEND, SPIN_OFF, MERGER, SYMBOL_CHANGE, PAYMENT = (
    CorporateActionKind.STOCK_DIVIDEND, CorporateActionKind.SPIN_OFF, CorporateActionKind.MERGER,
    CorporateActionKind.SYMBOL_CHANGE, CorporateActionKind.DIVIDEND_PAYMENT,
)  # fmt: skip


def make_action(
    kind: CorporateActionKind,
    ts: int,
    value: float,
    divisor: float = 1.0,
    instrument: InstrumentId = AAPL,
    **more: Any,
) -> CorporateAction:
    """An action at `ts` (ns UTC); `more` are fields of it."""
    return CorporateAction(
        instrument=instrument, kind=kind, ts_event=ts, ts_known=ts, value=value, divisor=divisor,
        **more,
    )  # fmt: skip


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


def make_other_actions(chance: random.Random, timeline: Timeline) -> list[CorporateAction]:
    """Dividends with a pay date, dividends in shares, and what turns shares into others.

    What does not fit the bars, or what came before it, is left out.
    """
    series = series_of(timeline)
    actions: list[CorporateAction] = []
    for instrument, _ in series:
        rows = timeline.rows_of(instrument.id)
        opens = timeline.columns["ts_open"][rows].tolist()
        others = [each.id for each, _ in series if each.id != instrument.id]
        for ts in sorted(chance.sample(opens[1:], min(4, len(opens) - 1))):
            kind = chance.choice((DIVIDEND, STOCK_DIVIDEND, SPIN_OFF, MERGER))
            more: dict[str, Any] = {}
            value, divisor = 0.0, 1.0
            match kind:
                case CorporateActionKind.CASH_DIVIDEND:
                    value, more["ts_pay"] = (
                        0.35,
                        chance.choice([each for each in opens if each >= ts]),
                    )
                case CorporateActionKind.STOCK_DIVIDEND:
                    value = chance.choice((0.03, 0.5))
                case CorporateActionKind.SPIN_OFF:
                    value, divisor = chance.choice(((1.0, 1000.0), (0.0123, 1.0)))
                case CorporateActionKind.MERGER if chance.random() < 0.7:
                    value, more["cash"] = chance.choice((0.25, 1.1)), chance.choice((0.0, 7.5))
                case CorporateActionKind.MERGER:
                    more["cash"] = 98.76
                case _:
                    pass
            if kind in (SPIN_OFF, MERGER) and value:
                if not others:
                    continue
                more["new_instrument"] = chance.choice(others)
            action = make_action(kind, ts, value, divisor, instrument.id, **more)
            grown = [*actions, action, *([pay_dividend(action)] if action.ts_pay else [])]
            try:
                order_actions(
                    grown, [(each, timeline_bars(timeline, each.id)) for each, _ in series]
                )
            except DataError:
                continue
            actions = grown
    return actions


def timeline_bars(timeline: Timeline, instrument: InstrumentId) -> BarColumns:
    """The rows of an instrument as the bars that they are matched as."""
    rows = timeline.rows_of(instrument)
    return {name: column[rows] for name, column in timeline.columns.items()}


def add_random_actions(world: World, *, others: bool = False) -> World:
    """The world of a seed with actions of that seed; `others`: of `make_other_actions`."""
    chance = random.Random(f"actions {world.seed}")
    make = make_other_actions if others else make_random_actions
    actions = make(chance, world.timeline)
    timeline = with_actions(world.timeline, actions)
    return World(world.seed, timeline, world.terms, world.limits)
