"""What a session refuses before its first bar, and what its strategies share."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from onetape.domain.errors import ConfigError, StrategyError
from onetape.domain.events import OrderEvent, SignalRecorded, StrategyQuarantined
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar
from onetape.domain.orders import (
    DenialCode,
    OrderIntent,
    OrderType,
    QuantityBasis,
    Side,
    TimeInForce,
)
from onetape.domain.rules import rule
from onetape.features import Estimator, FeatureMap, Sma, State
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import (
    BacktestSession,
    SessionIdentity,
    StrategySpec,
)
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from onetape.tape.store import MemoryTape
from tests.support.session_runs import make_terms, run_session
from tests.support.timelines import MSFT, flat, make_timeline


class BuysTwice(Strategy):
    """Two orders at each bar."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.buy(bar.instrument, 1, limit=1)
        ctx.buy(bar.instrument, 1, limit=1)


def test_order_rate_counts_each_strategy_alone() -> None:
    limits = RiskLimits(max_orders_per_minute=2, max_leverage=4)
    session = run_session(make_timeline(flat(10, 10, 10)), BuysTwice(), BuysTwice(), limits=limits)
    assert session.denied == []
    tight = RiskLimits(max_orders_per_minute=1, max_leverage=4)
    denied = run_session(make_timeline(flat(10)), BuysTwice(), BuysTwice(), limits=tight).denied
    assert [(each.strategy, each.code) for each in denied] == [
        ("s0", DenialCode.ORDER_RATE), ("s1", DenialCode.ORDER_RATE),
    ]  # fmt: skip


def build(*specs: StrategySpec) -> BacktestSession:
    timeline = make_timeline(flat(10, 11), flat(20, 21))
    return BacktestSession(
        timeline, specs, make_terms(timeline), RiskLimits(), MemoryTape(), SessionIdentity()
    )


def spec(strategy: Strategy | None = None, **changes: object) -> StrategySpec:
    made = StrategySpec(name="s", strategy=strategy or BuysTwice(), capital=10**12)
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build(spec(currency="EUR")), "quoted in USD, but the capital of strategy s is in"),
        (lambda: build(spec(), spec(name="t", currency="EUR")), "capital in EUR and USD"),
        (lambda: build(spec(instruments=(InstrumentId("NOPE.XNAS"),))), "unknown instrument"),
    ],
)
def test_session_that_can_not_be_wired_is_refused(
    make: Callable[[], BacktestSession], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


class BrokenState(State):
    """Nothing to remember."""


@rule
def update_broken(state: BrokenState, close: float) -> float:
    """Divides by zero."""
    return close / 0.0


class Broken(Estimator, frozen=True):
    """An estimator with a bug."""

    update = staticmethod(update_broken)
    warm_up = 1

    def start_state(self) -> BrokenState:
        return BrokenState()


class UsesBroken(BuysTwice):
    """Its feature raises."""

    def features(self) -> FeatureMap:
        return {"fine": Sma(2), "broken": Broken()}


def test_session_with_a_feature_that_raises_is_refused_by_name() -> None:
    with pytest.raises(StrategyError, match="UsesBroken: feature broken: raises ZeroDivisionError"):
        build(spec(UsesBroken()))


class Peeks(Strategy):
    """Writes down what it sees of the other instrument."""

    def features(self) -> FeatureMap:
        return {"mean": Sma(1)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        other = ctx.features_of(MSFT)
        ctx.signal("mean", -1.0 if other is None else other.mean)


def test_features_of_another_instrument_are_those_of_its_newest_bar() -> None:
    session = run_session(make_timeline(flat(10, 11), flat(20, 21)), Peeks())
    seen = [each.value for each in session.of_type(SignalRecorded)]
    assert seen == [-1.0, 20.0, 20.0, 21.0]


def test_blocks_end_where_slices_end() -> None:
    rows = make_timeline(flat(1, 2, 3), flat(4, 5, 6))
    assert list(rows.cut(1)) == [(0, 2), (2, 4), (4, 6)]
    assert list(rows.cut(3)) == [(0, 4), (4, 6)]
    assert list(rows.cut(100)) == [(0, 6)]


class Wrong(Strategy):
    """Sends an intent of its own making that no tape can keep."""

    def generate_orders(self, ctx: Context) -> list[OrderIntent]:
        return [
            OrderIntent(
                "s0", 1, MSFT, Side.BUY, QuantityBasis.LOTS, 1, OrderType.MARKET, TimeInForce.GTC,
                label=None,  # pyright: ignore[reportArgumentType]
            )
        ]  # fmt: skip


def test_intent_that_no_tape_can_keep_takes_out_its_strategy_alone() -> None:
    session = run_session(make_timeline(flat(10, 10), flat(20, 20)), Wrong(), BuysTwice())
    assert [(each.strategy, each.callback) for each in session.of_type(StrategyQuarantined)] == [
        ("s0", "generate_orders")
    ]
    assert {each.strategy for each in session.of_type(OrderIntent)} == {"s1"}


class Leaves(Strategy):
    """Ends the process, as `exit()` would."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        raise SystemExit(3)


class LeavesOnDenial(Strategy):
    """The same from another callback."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.buy(bar.instrument, 10**9)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        raise SystemExit


@pytest.mark.parametrize("strategy", [Leaves, LeavesOnDenial])
def test_strategy_that_asks_the_process_to_end_is_taken_out_alone(
    strategy: type[Strategy],
) -> None:
    session = run_session(make_timeline(flat(10, 10)), strategy(), BuysTwice())
    (told,) = session.of_type(StrategyQuarantined)
    assert (told.strategy, told.error.partition(":")[0]) == ("s0", "SystemExit")
    assert len([each for each in session.of_type(OrderIntent) if each.strategy == "s1"]) == 4
