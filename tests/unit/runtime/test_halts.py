"""Sessions in which instruments are halted: by hand-worked tables, on bars, prints and quotes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from onetape.domain.breakers import BreakerAction, BreakerKind
from onetape.domain.events import (
    BreakerTripped,
    MarginStatusChanged,
    OrderAccepted,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    PositionSettled,
)
from onetape.domain.market import TradingStatus
from onetape.domain.orders import RejectCode, TimeInForce
from onetape.domain.timestamps import to_iso
from onetape.execution.simulated.fill_terms import FillTerms, MarketPrice
from onetape.execution.simulated.halts import TradingHalts
from onetape.marketdata.timeline import Timeline
from onetape.risk.breakers import BreakerLimits
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from tests.parity.test_fill_snapshots import WORLDS, Restless
from tests.support.contracts import LINEAR, make_contract_timeline, make_margin
from tests.support.halts import make_halt, make_random_halts, with_halts
from tests.support.session_runs import SessionRun, run_session
from tests.support.ticks import make_quote_timeline
from tests.support.timelines import (
    AAPL,
    SECOND,
    T0,
    at_rows,
    closes,
    flat,
    make_timeline,
    make_trade_timeline,
)

Action = Callable[[Context], Any]
REPORTS = (OrderAccepted, OrderRejected, OrderFilled, OrderPartiallyFilled, OrderCanceled,
           OrderExpired, OrderReplaced, OrderReplaceRejected)  # fmt: skip
IOC, DAY, OPEN, CLOSE = (
    TimeInForce.IOC, TimeInForce.DAY, TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE
)  # fmt: skip

# Bars of a minute: 101, 102, ... (open) with a range of 3 around it. Halts are in minutes after the
# first open.
BARS = [(100.0 + n, 101.5 + n, 98.5 + n, 100.5 + n) for n in range(1, 9)]


def minute(after: float) -> int:
    return T0 + round(after * 60) * SECOND


def run(
    actions: dict[int, Action],
    *halts: tuple[float, float],
    bars: Sequence[tuple[float, ...]] = BARS,
    session: int = 1_000,
    **terms: Any,
) -> SessionRun:
    statuses = [each for begin, end in halts for each in make_halt(minute(begin), minute(end))]
    timeline = with_halts(make_timeline([*bars], session=session), statuses)
    return run_session(timeline, at_rows(actions), **terms)


def told(session: SessionRun) -> list[str]:
    """The reports but for acceptances, each with what it says."""
    found: list[str] = []
    for each in session.of_type(*REPORTS[1:]):
        match each:
            case OrderFilled():
                found.append(f"{each.lots} at {each.ticks / 100} {(each.ts_fill - T0) / 6e10:g}m")
            case OrderRejected() | OrderReplaceRejected():
                found.append(f"{each.code.value}")
            case OrderReplaced():
                found.append("replaced")
            case _:
                found.append(each.reason)
    return found


buy: Action = lambda ctx: ctx.buy(AAPL, 10)  # noqa: E731
low: Action = lambda ctx: ctx.buy(AAPL, 10, limit=99)  # noqa: E731


def later(how: TimeInForce, **more: Any) -> Action:
    return lambda ctx: ctx.buy(AAPL, 10, time_in_force=how, **more)


def cancel(ctx: Context) -> None:
    ctx.cancel(ctx.open_orders()[0].client_order_id)


def replace(ctx: Context) -> None:
    ctx.replace(ctx.open_orders()[0].client_order_id, AAPL, limit=98.5)


DIPS = {at: [*BARS[:at], (102.5, 103, 98, 102.5), *BARS[at + 1 :]] for at in (1, 2)}
DIPS[3] = [*BARS[:2], *flat(112), (105, 106, 104, 105), *BARS[4:]]
stop: Action = lambda ctx: ctx.buy(AAPL, 10, stop=103.75)  # noqa: E731

# Bar n lasts from minute n to n + 1 and opens at 101 + n; bar 0 decides at minute 1.
# ruff: noqa: E501
# fmt: off
TABLE: list[tuple[str, dict[int, Action], list[tuple[float, float]], dict[str, Any], list[str]]] = [
    # what                            the orders, by bar      halts (minutes)     further           reports
    ("no halt",                       {0: buy},               [],                 {},               ["10 at 102.0 1m"]),
    ("halted later",                  {0: buy},               [(2, 5)],           {},               ["10 at 102.0 1m"]),
    ("an order in a halt",            {0: buy, 1: buy},       [(1, 4)],           {},               ["halted", "halted"]),
    ("an order where it ends",        {0: buy},               [(0.5, 1)],         {},               ["10 at 102.0 1m"]),
    ("a halt inside the bar",         {0: buy},               [(1.5, 1.75)],      {},               ["10 at 102.0 1m"]),
    ("one that begins in the bar",    {0: buy},               [(1.5, 4)],         {},               ["10 at 102.0 1m"]),
    ("a limit, before it begins",     {0: low},               [(1.5, 4)],         {"bars": DIPS[1]}, ["10 at 99.0 1.5m"]),
    ("a limit, in the halt",          {0: low},               [(1.5, 4)],         {"bars": DIPS[2]}, []),
    ("a limit, when it goes on",      {0: low},               [(1.5, 2.5)],       {"bars": DIPS[2]}, ["10 at 99.0 3m"]),
    ("a stop, behind a gap",          {0: stop},              [(1.5, 3)],         {"bars": DIPS[3]}, ["10 at 105.0 3m"]),
    ("held until it goes on",         {0: buy},               [(1, 4)],           {"holds_in_halts": True},  ["10 at 105.0 4m"]),
    ("goes on inside a bar",          {0: buy},               [(1, 3.5)],         {"holds_in_halts": True},  ["10 at 104.0 3.5m"]),
    ("immediate, where others wait",  {0: later(IOC)},        [(1, 4)],           {"holds_in_halts": True},  ["halted"]),
    ("a cancel in a halt",            {0: low, 2: cancel},    [(2, 6)],           {},               ["requested"]),
    ("a replace in a halt",           {0: low, 2: replace},   [(2, 6)],           {},               ["halted"]),
    ("a replace that is held",        {0: low, 2: replace},   [(2, 6)],           {"holds_in_halts": True},  ["replaced"]),
    ("a day that ends in a halt",     {0: later(DAY, limit=90)}, [(1.5, 7)],      {"session": 4},   ["time in force"]),
    ("an opening in a halt",          {1: later(OPEN)},       [(3, 6)],           {"session": 3},   ["10 at 107.0 6m"]),
    ("a closing in a halt",           {0: later(CLOSE)},      [(3, 6)],           {"session": 4},   ["not filled in the auction"]),
    ("a closing bar that ends so",    {0: later(CLOSE)},      [(3.5, 6)],         {"session": 4},   ["not filled in the auction"]),
]
# fmt: on


@pytest.mark.parametrize(
    ("_what", "actions", "halts", "more", "reports"), TABLE, ids=[row[0] for row in TABLE]
)
def test_a_halted_venue_fills_nothing_and_takes_nothing(
    _what: str,
    actions: dict[int, Action],
    halts: list[tuple[float, float]],
    more: dict[str, Any],
    reports: list[str],
) -> None:
    assert told(run(actions, *halts, **more)) == reports


def test_a_rejection_says_since_when_and_why_and_a_strategy_hears_of_the_halt() -> None:
    heard: list[tuple[int, bool, bool]] = []

    def on_status(_self: Strategy, status: TradingStatus, ctx: Context) -> None:
        heard.append((ctx.now, status.is_halted, ctx.is_halted(AAPL)))
        buy(ctx)

    statuses = make_halt(minute(1.5), minute(3), "LUDP")
    timeline = with_halts(make_timeline(BARS), statuses)
    listening = type("Listening", (type(at_rows({})),), {"on_status": on_status})()
    session = run_session(timeline, listening)
    assert heard == [(closes(1) + 1, True, True), (closes(2) + 1, False, False)]
    (rejected,) = session.of_type(OrderRejected)
    assert rejected.code is RejectCode.HALTED
    assert rejected.reason == f"halted since {to_iso(minute(1.5))} (LUDP)"
    assert told(session) == ["halted", "10 at 104.5 4m"]  # heard a moment behind the open
    by_seq = {each.seq: each.payload for each in session.events}
    causes = [by_seq[each.causation_id] for each in session.events if each.type == "intent.order"]
    assert [type(each) for each in causes] == [TradingStatus, TradingStatus]
    assert session.session.desk.halted == {}


def test_a_halt_from_before_the_first_bar_is_known_at_once() -> None:
    timeline = with_halts(make_timeline(BARS), make_halt(minute(-5), minute(2)))
    session = run_session(timeline, at_rows({0: buy, 1: buy}))
    assert told(session) == ["halted", "10 at 103.0 2m"]


def test_a_market_order_at_the_close_of_its_signal_bar_needs_a_close() -> None:
    """Halts end at minute 1 and begin at minute 2; only the close of bar 2 is a price."""
    fill = FillTerms(market=MarketPrice.SAME_CLOSE)
    actions = {0: buy, 1: buy, 3: buy}
    session = run(actions, (0.5, 1), (2, 3), holds_in_halts=True, fill=fill)
    assert told(session) == ["10 at 102.5 2m", "10 at 104.5 4m", "10 at 104.5 4m"]


def test_prints_and_quotes_fill_nothing_in_a_halt() -> None:
    halt = make_halt(T0 + 5 * SECOND // 2, T0 + 9 * SECOND // 2)  # seconds 3 and 4
    prints = with_halts(make_trade_timeline([100.0 + n for n in range(8)]), halt)
    session = run_session(prints, at_rows({1: lambda c: c.buy(AAPL, 1, stop=103), 3: buy}))
    assert [(each.ticks, (each.ts_fill - T0) // SECOND) for each in session.fills] == [(10500, 5)]
    assert len(session.of_type(OrderRejected)) == 1

    quotes = with_halts(make_quote_timeline([(99.0 + n, 101.0 + n) for n in range(8)]), halt)
    seen = {1: lambda c: c.sell(AAPL, 1, limit=102.5), 3: buy}
    session = run_session(quotes, on_quotes(seen))
    assert [(each.ticks, (each.ts_fill - T0) // SECOND) for each in session.fills] == [(10250, 5)]
    assert len(session.of_type(OrderRejected)) == 1


def on_quotes(actions: dict[int, Action]) -> Strategy:
    seen = [-1]

    def on_quote(_self: Strategy, _quote: Any, ctx: Context) -> None:
        seen[0] += 1
        actions.get(seen[0], lambda _: None)(ctx)

    return type("OnQuotes", (Strategy,), {"on_quote": on_quote})()


def test_a_breaker_closes_what_was_halted_when_it_trades_again() -> None:
    """Bought at 102, halted from minute 3 to 5; at 90 more than 1 % is lost."""
    bars = [*BARS[:2], *flat(90, 90, 90, 91, 92, 93)]
    timeline = with_halts(make_timeline(bars), make_halt(minute(3), minute(5)))
    breaker = BreakerLimits(kind=BreakerKind.DRAWDOWN, pct=1, action=BreakerAction.FLATTEN)
    limits = RiskLimits(max_leverage=4, breakers=(breaker,))
    session = run_session(timeline, at_rows({0: lambda c: c.buy(AAPL, 200)}), limits=limits)
    (tripped,) = [each for each in session.events if isinstance(each.payload, BreakerTripped)]
    assert tripped.ts_event == minute(3)
    assert told(session) == ["200 at 102.0 1m", "halted", "200 at 92.0 6m"]


def test_a_halted_position_is_called_and_not_liquidated_until_it_trades_again() -> None:
    """0.02 BTC at 50,000 on 25: at 49,000 5 are left and 9.80 required; it trades from 4.5 on."""
    rows = flat(50_000, 50_000, 49_000, 48_900, 48_900, 48_900)
    timeline = make_contract_timeline((LINEAR, rows))
    timeline = with_halts(timeline, make_halt(minute(2), minute(4.5), instrument=LINEAR.id))
    strategy = at_rows({0: lambda ctx: ctx.buy(LINEAR.id, 0.02)}, instrument=LINEAR.id)
    margin = make_margin(timeline, "2", "1")
    session = run_session(timeline, strategy, capital=25, limits=RiskLimits(), margin=margin)
    statuses = [
        (each.payload.status.value, (each.ts_event - T0) // (60 * SECOND))
        for each in session.events
        if isinstance(each.payload, MarginStatusChanged)
    ]
    assert statuses == [("called", 3), ("liquidation", 6), ("sufficient", 6)]
    (settled,) = session.of_type(PositionSettled)
    assert settled.traded == -20


# Random halts against random orders on every kind of market data: nothing is filled or accepted in
# one, and something is before and behind them.


@pytest.mark.parametrize("world", range(len(WORLDS)))
def test_nothing_is_accepted_or_filled_in_a_halt(world: int) -> None:
    make, fill, ratio = WORLDS[world]
    counts = {OrderAccepted: 0, OrderFilled: 0, OrderRejected: 0}
    for seed in range(8):
        chance = random.Random(seed)
        plain: Timeline = make(chance, 0)
        statuses = make_random_halts(chance, plain)
        timeline = with_halts(plain, statuses)
        halts = TradingHalts(statuses)
        session = run_session(
            timeline, Restless(seed=seed), fill=fill, max_volume_ratio=ratio, seed=seed
        )
        assert not session.quarantined
        instruments: dict[str, Any] = {}
        for event in session.events:
            each = event.payload
            if event.type == "order.submitted":
                instruments[each.client_order_id] = each.instrument
            elif isinstance(each, OrderAccepted | OrderRejected):
                instrument = instruments[each.client_order_id]
                is_halted = halts.find(instrument, event.ts_event) is not None
                assert is_halted == isinstance(each, OrderRejected), f"seed {seed}"
                counts[type(each)] += 1
            elif isinstance(each, OrderFilled):
                at = each.ts_fill
                inside = halts.find(each.instrument, at) and halts.find(each.instrument, at - 1)
                assert not inside, f"seed {seed}: {each}"
                counts[OrderFilled] += 1
    assert min(counts.values()) > 15, counts
