"""Books of a local exchange under any orders, against books kept from its executions alone."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.instrument import Instrument, make_equity, make_spot
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderType, Side, TimeInForce
from onetape.execution.simulated.fees import BpsFees
from onetape.execution.simulated.latency import LatencyModel
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.messages import (
    Books,
    Changes,
    Happening,
    NewOrder,
    OrderUpdate,
    PlacedOrder,
    UpdateKind,
)
from tests.support.local_venues import PAIRS, SHARES, hear, make_exchange, updates
from tests.support.timelines import make_columns

COIN = make_spot("AB.X", base="A", quote="B", tick_size="0.01", lot_size="0.001")
OTHER = make_spot("CB.X", base="C", quote="B", tick_size="0.5", lot_size="0.1")
SHARE = make_equity("S.X", currency="B")
START = {"one": {"B": 5_000 * E8, "A": 3 * E8}, "two": {"B": 70 * E8, "C": 2 * E8 + 7}}

prices = st.tuples(*[st.integers(50, 150)] * 4).map(
    lambda four: (float(four[0]), float(max(four)), float(min(four)), float(four[1]), 40.0)
)
accounts = st.sampled_from(list(START))
symbols = st.sampled_from(("AB", "AB", "CB", "S"))
sides = st.sampled_from((Side.BUY, Side.BUY, Side.SELL))
sizes = st.one_of(st.integers(1, 60), st.sampled_from((1, 20, 40)))
kinds = st.sampled_from([each for each in OrderType if each < OrderType.TRAILING_STOP_LIMIT])
times = st.sampled_from((TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY))
at_market = st.tuples(
    accounts, symbols, sides, st.just(OrderType.MARKET), st.just(TimeInForce.GTC), st.just(1),
    sizes, st.booleans(),
)  # fmt: skip
moves = st.one_of(
    st.just("step"),
    st.tuples(st.just("cancel"), st.integers(1, 12)),
    st.tuples(st.just("replace"), st.integers(1, 12), st.integers(40, 160), sizes),
    at_market,
    at_market,
    st.tuples(accounts, symbols, sides, kinds, times, st.integers(40, 160), sizes, st.just(False)),
)
worlds = st.fixed_dictionaries(
    {
        "rows": st.lists(st.tuples(prices, prices, prices), min_size=4, max_size=8),
        "moves": st.lists(moves, min_size=6, max_size=30),
        "late_ms": st.sampled_from((0, 0, 45_000)),
        "parts": st.booleans(),
        "share": st.sampled_from((None, 0.5)),
        "pairs": st.booleans(),
    }
)


def make_world(world: dict[str, Any]) -> LocalExchange:
    series: list[tuple[Instrument, dict[str, Any]]] = []
    instruments = (COIN, OTHER) if world["pairs"] else (COIN, OTHER, SHARE)
    for at, instrument in enumerate(instruments):
        series.append((instrument, make_columns([row[at] for row in world["rows"]], session=3)))
    timeline: Timeline = build_timeline(series, source="test", timeframe="1m")
    exchange = make_exchange(
        timeline,
        PAIRS if world["pairs"] else SHARES,
        fees=BpsFees(maker_bps=7, taker_bps="12.5"),
        accounts=START,
        latency=LatencyModel(mean_ms=world["late_ms"]),
        max_volume_ratio=world["share"],
    )
    if world["parts"]:
        exchange.split_fill = lambda lots: (1,) * min(lots - 1, 3) + (lots - min(lots - 1, 3),)
    return exchange


def play(exchange: LocalExchange, world: dict[str, Any]) -> list[Happening]:
    """All moves, then the rest of the data; what has to hold is looked at after each move."""
    heard = hear(exchange)
    for number, move in enumerate([*world["moves"], *["step"] * 10]):
        before = {name: exchange.books(name) for name in START}
        answer = act(exchange, move, number)
        if answer is not None and not isinstance(answer, PlacedOrder):
            assert {name: exchange.books(name) for name in START} == before
        for name in START:
            check(exchange.books(name), world)
    return heard


def act(exchange: LocalExchange, move: Any, number: int) -> object:
    if move == "step":
        return exchange.step() and None
    if move[0] == "cancel":
        return exchange.cancel("one", move[1])
    if move[0] == "replace":
        _, which, price, size = move
        order = exchange.find("one", number=which)
        change = Changes(quantity=Decimal(size))
        if order is not None and order.limit_ticks:
            change = Changes(quantity=Decimal(size), limit=Decimal(price))
        return exchange.replace("one", which, change)
    account, symbol, side, kind, tif, price, size, by_budget = move
    has_stop = kind.has_trigger and not kind.is_trailing
    request = NewOrder(
        symbol=symbol,
        client_order_id=f"c{number}",
        side=side,
        order_type=kind,
        time_in_force=tif,
        quantity=Decimal(0) if by_budget else Decimal(size),
        budget=Decimal(size * 20) if by_budget else Decimal(0),
        limit=Decimal(price) if kind.has_limit else Decimal(0),
        stop=Decimal(200 - price) if has_stop else Decimal(0),
        trail=Decimal(size) if kind.is_trailing else Decimal(0),
    )
    return exchange.submit(account, request)


def check(books: Books, world: dict[str, Any]) -> None:
    """Balances are the start and the executions; what is held is what open orders may use."""
    units = {COIN.id: E8 // 1_000, OTHER.id: E8 // 10}
    totals = dict(START[books.account])
    lots: dict[str, int] = {}
    fees: dict[str, int] = {}
    for each in books.executions:
        totals["B"] = totals.get("B", 0) - each.side * each.notional
        totals[each.fee_asset] = totals.get(each.fee_asset, 0) - each.fee
        fees[each.fee_asset] = fees.get(each.fee_asset, 0) + each.fee
        if each.instrument in units:
            base = "A" if each.instrument == COIN.id else "C"
            totals[base] = totals.get(base, 0) + each.side * each.lots * units[each.instrument]
        else:
            lots[each.instrument] = lots.get(each.instrument, 0) + each.side * each.lots
        bare = each.lots * units.get(each.instrument, 0)
        bare = bare if each.fee_asset != "B" else each.notional
        assert each.lots > 0
        assert 0 <= each.fee <= Fraction(bare * 125, 100_000) + 1
    assert {each: balance.total for each, balance in books.balances.items()} == totals
    assert {each: held.lots for each, held in books.positions.items()} == {
        each: count for each, count in lots.items() if count
    }
    assert books.fees == fees
    for asset, balance in books.balances.items():
        assert balance.held == sum(o.held for o in books.open_orders if o.hold_asset == asset)
        if world["pairs"]:
            assert balance.total >= 0
            if not world["late_ms"]:
                assert balance.free >= 0
    for order in books.open_orders:
        assert order.held >= 0
        assert order.filled_lots == sum(
            each.lots for each in books.executions if each.order == order.number
        )


@settings(max_examples=80, deadline=None)
@given(worlds)
def test_books_are_the_executions_and_nothing_is_spent_twice(world: dict[str, Any]) -> None:
    exchange = make_world(world)
    heard = updates(play(exchange, world))
    assert [each.seq for each in heard] == list(range(1, len(heard) + 1))
    told = [each.execution for each in heard if each.execution is not None]
    assert [each.number for each in told] == list(range(1, len(told) + 1))
    for name in START:
        assert tuple(e for e in told if e.account == name) == exchange.books(name).executions
    last: dict[int, OrderUpdate] = {}
    late = (UpdateKind.CANCEL_REFUSED, UpdateKind.REPLACE_REFUSED)
    for each in heard:
        before = last.get(each.order.number)
        assert before is None or before.order.is_open or each.kind in late
        last[each.order.number] = each
    for number, each in last.items():
        now = exchange.find(each.account, number=number)
        assert now is not None
        assert now.status is each.order.status
        assert now.filled_lots == each.order.filled_lots


@settings(max_examples=80, deadline=None)
@given(worlds)
def test_same_calls_are_answered_and_told_the_same(world: dict[str, Any]) -> None:
    assert play(make_world(world), world) == play(make_world(world), world)
