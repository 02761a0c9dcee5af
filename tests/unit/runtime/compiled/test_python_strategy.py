"""A strategy in Python on the compiled engine: what it sees, and what is given up."""

from __future__ import annotations

from typing import Any

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.market import Bar, TimeSlice
from onetape.domain.orders import OrderIntent, OrderType, QuantityBasis, Side, TimeInForce
from onetape.features import FeatureMap, Sma
from onetape.runtime.compiled import engine_context
from onetape.runtime.compiled.host import CompiledHost
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state
from tests.support.compiled_actor import Hoarder
from tests.support.parity_worlds import Plan, Told, build_world, run_compiled, run_python

PLAN = Plan(rows=40, instruments=(0, 2), capital=1e6)
ONE = Plan(rows=60, capital=1e6)


def run_both(strategy: type[Strategy], plan: Plan = ONE, **params: Any) -> tuple[Told, Told]:
    """What the Python host and the mixed host tell of a run."""
    world = build_world(plan)
    (mixed,) = run_compiled(world, strategy, [params], in_python=True)
    python = run_python(world, strategy(**params))
    assert mixed.records == python.records
    assert mixed.state == python.state
    return python, mixed


class Slices(Strategy):
    """Hears slices alone, and so has no features of a bar."""

    slices: int = state(0)
    had_features: bool = state(False)

    def features(self) -> FeatureMap:
        return {"average": Sma(2)}

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        self.slices += 1
        self.had_features = ctx.features is not None
        for bar in slice_.bars:
            if ctx.features_of(bar.instrument).average < bar.close:
                ctx.target(bar.instrument, 10.0 * (1 + self.slices % 3))


@pytest.mark.parametrize("plan", [ONE, PLAN])
def test_slices_are_those_of_the_python_host(plan: Plan) -> None:
    python, mixed = run_both(Slices, plan)
    assert mixed.is_carried
    assert python.state["slices"] > 10
    assert not python.state["had_features"]
    assert len(python.events) > 20


class Leaver(Strategy):
    """Does one thing that compiled code can't carry on with, at its 20th bar."""

    way: int = param(0, ge=0, le=9)
    bars: int = state(0)
    order: str = state("")

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars % 5 == 0:
            self.order = ctx.buy(bar.instrument, 2.0, limit=round(bar.close * 0.98, 2), label="l")
        if self.bars != 20:
            return
        if self.way == 0:
            raise SystemExit
        if self.way == 1:
            ctx.cancel("nobody-s0-1")
        if self.way == 2:
            ctx.buy(bar.instrument, 1.0, time_in_force=TimeInForce.AT_THE_CLOSE)
        if self.way == 3:
            ctx.order(bar.instrument, Side.BUY, 1.0, trail=0.5)
        if self.way == 4:
            getattr(ctx, "sig" + "nal")("late", 1.0)
        if self.way == 5:
            ctx.replace("x" + self.order, bar.instrument, quantity=3.0)
        if self.way == 6:
            ctx.submit(lambda strategy, number: OrderIntent(
                strategy, number, bar.instrument, Side.BUY, QuantityBasis.LOTS, 2**64,
                OrderType.MARKET, TimeInForce.GTC,
            ))  # fmt: skip
        if self.way == 7:
            ctx.cancel(f"{self.order[: self.order.rindex('-')]}-{2**70}")
        if self.way == 8:
            raise MemoryError


@pytest.mark.parametrize("way", range(9))
def test_what_compiled_code_can_not_carry_on_with_is_given_up(way: int) -> None:
    _, mixed = run_both(Leaver, way=way)
    assert not mixed.is_carried


def test_nothing_odd_is_carried() -> None:
    python, mixed = run_both(Leaver, way=9)
    assert mixed.is_carried
    assert len(python.events) > 20


class Labeled(Strategy):
    """Calls each order something else."""

    orders: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.orders += 1
        ctx.buy(bar.instrument, 1.0, label=f"order {self.orders}")


def test_labels_may_be_many_but_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_both(Labeled)[1].is_carried
    monkeypatch.setattr(engine_context, "_LABELS_MAX", 20)
    assert not run_both(Labeled)[1].is_carried


def test_orders_that_pile_up_find_room() -> None:
    python, mixed = run_both(Hoarder, Plan(rows=12, capital=1e8), orders=600, every=3)
    assert mixed.is_carried
    assert len(python.events) > 1_000


class Updated(Strategy):
    def on_order_update(self, update: object, ctx: Context) -> None: ...


class Signaling(Strategy):
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.signal("close", bar.close)


class Called(Strategy):
    """Has state whose name is that of a method of `ctx`."""

    signal: float = state(0.0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.signal = bar.close


@pytest.mark.parametrize(
    ("strategy", "what"), [(Updated, "on_order_update"), (Signaling, "ctx.signal")]
)
def test_what_is_seen_beforehand_is_refused(strategy: type[Strategy], what: str) -> None:
    world = build_world(ONE)
    with pytest.raises(ConfigError, match=f"uses {what}, which compiled code does not carry"):
        CompiledHost(world.timeline, world.spec(strategy()), world.terms, world.plan.limits,
                     in_python=True)  # fmt: skip


def test_a_name_of_its_own_is_no_request() -> None:
    assert run_both(Called)[1].is_carried
