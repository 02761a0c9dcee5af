from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from onetape.domain.instrument import make_equity
from onetape.domain.market import TimeSlice, make_bar
from onetape.domain.orders import OrderStatus, OrderType, QuantityBasis, Side
from onetape.domain.timestamps import compute_month, from_iso
from onetape.strategy.context import OpenOrder
from onetape.strategy.library.momentum_rebalance import MomentumRebalance
from tests.support.strategies import FakeSurroundings, make_context

NAN = float("nan")
NAMES = ("A.X", "B.X", "C.X", "D.X")
E8 = 100_000_000
CLOSE, WEIGHT = QuantityBasis.TARGET_LOTS, QuantityBasis.TARGET_WEIGHT


def test_compute_month_is_the_calendar_month_of_every_day_of_four_centuries():
    day = datetime(1799, 12, 31, tzinfo=UTC)
    while day.year < 2201:
        ts = (day - datetime(1970, 1, 1, tzinfo=UTC)).days * 86_400 * 10**9
        month = (day.year - 1970) * 12 + day.month - 1
        assert compute_month(ts) == compute_month(ts + 86_400 * 10**9 - 1) == month
        day += timedelta(days=1)


def decide(strategy, when, returns, held=None, orders=()):
    """Intents of one slice: returns by instrument (None: no bar), every mark 10, equity 1000."""
    ts = from_iso(when)
    around = FakeSurroundings(
        time=ts,
        marks=dict.fromkeys(NAMES, 10.0),
        equity_minor=1000 * E8,
        rows={
            name: SimpleNamespace(momentum=value)
            for name, value in zip(NAMES, returns, strict=True)
        },
        orders=list(orders),
    )
    ctx = make_context(*map(make_equity, NAMES), around=around)
    ctx.units.update(held or {})
    bars = [
        make_bar(name, ts_open=ts - 1, ts_close=ts, open=1, high=1, low=1, close=1, volume=1)
        for name, value in zip(NAMES, returns, strict=True)
        if value is not None
    ]
    strategy.on_slice(TimeSlice(ts, tuple(bars)), ctx)
    return [(each.instrument, each.basis, each.amount) for each in ctx.take_intents()]


def make_strategy(**params):
    return MomentumRebalance(**{"top": 2, "weight": 0.8, **params})


def test_first_month_sells_nothing_and_buys_the_best_on_the_second_slice():
    strategy = make_strategy()
    assert decide(strategy, "2024-01-02", (0.1, 0.3, 0.2, -0.1)) == []
    assert decide(strategy, "2024-01-03", (0.1, 0.3, 0.2, -0.1)) == [
        ("B.X", WEIGHT, 40_000_000),
        ("C.X", WEIGHT, 40_000_000),
    ]
    assert decide(strategy, "2024-01-04", (0.1, 0.3, 0.2, -0.1)) == []


def test_new_month_sells_losers_then_buys_for_the_free_places():
    strategy = make_strategy()
    held = {"A.X": 40.0, "B.X": 40.0}
    assert decide(strategy, "2024-02-01", (0.1, 0.3, 0.2, -0.1), held) == [("A.X", CLOSE, 0)]
    assert decide(strategy, "2024-02-02", (0.1, 0.3, 0.2, -0.1), {"B.X": 40.0}) == [
        ("C.X", WEIGHT, 40_000_000)
    ]


def test_winner_that_has_grown_is_trimmed_and_one_that_has_shrunk_is_filled_up():
    strategy = make_strategy()
    held = {"B.X": 50.0, "C.X": 30.0}
    assert decide(strategy, "2024-02-01", (0.1, 0.3, 0.2, -0.1), held) == [
        ("B.X", WEIGHT, 40_000_000)
    ]
    assert decide(strategy, "2024-02-02", (0.1, 0.3, 0.2, -0.1), held) == [
        ("C.X", WEIGHT, 40_000_000)
    ]


@pytest.mark.parametrize(
    ("returns", "bought"),
    [
        ((0.2, 0.2, 0.2, 0.2), ["A.X", "B.X"]),
        ((0.1, 0.2, 0.1, 0.2), ["B.X", "D.X"]),
        ((0.1, NAN, NAN, NAN), ["A.X"]),
        ((NAN, NAN, NAN, NAN), []),
        ((None, None, 0.1, 0.2), ["D.X", "C.X"]),
        ((-0.3, -0.2, -0.1, -0.4), ["C.X", "B.X"]),
    ],
)
def test_ranking_keeps_the_order_of_equals_and_leaves_out_what_is_unknown(returns, bought):
    strategy = make_strategy()
    decide(strategy, "2024-01-02", returns)
    assert [each[0] for each in decide(strategy, "2024-01-03", returns)] == bought


def test_holding_more_than_wanted_buys_nothing_new():
    strategy = make_strategy(top=1)
    held = {"A.X": 80.0, "B.X": 80.0}
    assert decide(strategy, "2024-02-01", (0.1, 0.3, 0.2, -0.1), held) == [("A.X", CLOSE, 0)]
    assert decide(strategy, "2024-02-02", (0.1, 0.3, 0.2, -0.1), held) == []


def test_place_whose_sale_is_still_open_is_not_given_away():
    strategy = make_strategy(top=1)
    order = OpenOrder("mine-1", "A.X", Side.SELL, OrderType.MARKET, OrderStatus.ACCEPTED,
                      40.0, 0.0, 0.0, 0.0)  # fmt: skip
    held = {"A.X": 40.0}
    assert decide(strategy, "2024-02-01", (None, 0.3, 0.2, 0.1), held) == [("A.X", CLOSE, 0)]
    assert decide(strategy, "2024-02-02", (None, 0.3, 0.2, 0.1), held, [order]) == []
