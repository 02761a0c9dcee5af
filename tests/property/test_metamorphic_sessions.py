"""What a session must not notice: neighbors, another time, another unit, another currency.

The same random strategy runs in two worlds that differ in something that is none of its business.
Its fills and its books are then the same, or the same in other units.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest

from onetape.domain.instrument import Instrument
from onetape.domain.timestamps import NS_PER_DAY
from onetape.execution.simulated.fees import BpsFees, FeeModel, NoFees
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.slippage import FixedSlippage, SlippageModel, SquareRootSlippage
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param
from tests.support.contracts import LINEAR, make_funding, make_margin
from tests.support.random_strategies import SHARE, Idle, RandomBars, make_walk
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import OTHER, T0

Columns = dict[str, Any]

SEEDS = range(10)


class OneInstrument(RandomBars):
    """Does everything at random in the first instrument, by the time since `origin`."""

    origin: int = param(T0)

    def chance(self, what: object, ctx: Context) -> random.Random:
        return random.Random(f"{self.seed} {what} {ctx.now - self.origin}")

    def on_start(self, ctx: Context) -> None:
        ctx.set_timer("start", self.origin + 90_000_000_000)

    def hear(self, instrument: Any, ctx: Context) -> None:
        if instrument != ctx.instruments[0]:
            return
        chance = self.chance("bar", ctx)
        for _ in range(chance.randint(0, 3)):
            self.act(chance, instrument, ctx)

    def on_order_update(self, update: Any, ctx: Context) -> None:
        """Decides at bars and timers."""

    def on_timer(self, name: str, ctx: Context) -> None:
        chance = self.chance(name, ctx)
        self.act(chance, ctx.instruments[0], ctx)
        if chance.random() < 0.5:
            ctx.set_timer(name, ctx.now + chance.randint(1, 3 * 60_000_000_000))


class World:
    """One instrument of a seed, with the venue of that seed: a share, or a perpetual on margin."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(f"metamorphic {seed}")
        self.seed = seed
        self.is_margined = seed % 2 == 1
        self.instrument: Instrument = LINEAR if self.is_margined else SHARE
        self.columns = make_walk(chance, self.instrument, 60, T0)
        keep = np.array([row == 0 or chance.random() < 0.8 for row in range(60)])
        self.columns = {name: values[keep] for name, values in self.columns.items()}
        self.columns["ts_known"] = self.columns["ts_close"] + chance.choice((0, 0, 1))
        self.fees: FeeModel = chance.choice((NoFees(), BpsFees(maker_bps=-1, taker_bps="7.5")))
        slippages: tuple[SlippageModel, ...] = (
            FixedSlippage(), FixedSlippage(bps=5, ticks=1), SquareRootSlippage(coefficient="0.01"),
        )  # fmt: skip
        self.slippage = chance.choice(slippages)
        self.latency = chance.choice((LatencyModel(), LatencyModel(mean_ms=20_000, std_ms=9_000)))
        self.max_volume_ratio = chance.choice((None, 0.1))
        leverages = (None, 3) if not self.is_margined else (20,)
        self.limits = RiskLimits(
            max_leverage=chance.choice(leverages), max_drawdown_pct=chance.choice((None, 2)),
            max_daily_loss_pct=chance.choice((None, 1)),
        )  # fmt: skip
        self.capital = 20_000.0 if not self.is_margined else chance.choice((0.05, 1.0))
        self.rates = [
            (int(ts) + chance.choice((0, 1)), round(chance.gauss(0, 0.01), 6))
            for ts in self.columns["ts_close"][:-1:7] if self.is_margined
        ]  # fmt: skip

    def timeline(self, *others: tuple[Instrument, Columns]) -> Timeline:
        series = [(self.instrument, self.columns), *others]
        steps = [make_funding(ts, rate, self.instrument) for ts, rate in self.rates]
        return build_timeline(series, source="made", timeframe="1m", steps=steps)

    def run(self, *strategies: Strategy, timeline: Timeline | None = None, **how: Any
            ) -> SessionRun:  # fmt: skip
        timeline = timeline or self.timeline()
        terms = make_terms(
            timeline, fees=self.fees, slippage=self.slippage, latency=self.latency,
            max_volume_ratio=self.max_volume_ratio, seed=self.seed,
            margin=make_margin(timeline) if self.is_margined else None,
        )  # fmt: skip
        how = {"capital": self.capital, "limits": self.limits, **how}
        run = run_session(
            timeline, *(strategies or (OneInstrument(seed=self.seed),)), terms=terms, **how
        )
        assert run.quarantined == []
        return run


def told(run: SessionRun, *, later: int = 0) -> list[tuple[Any, ...]]:
    """Every fill of the first strategy: order, side, lots, ticks, fee, leaves and time."""
    return [
        (
            each.client_order_id.rpartition("-")[2], int(each.side), each.lots, each.ticks,
            each.fee, each.leaves, each.ts_fill - later,
        )
        for each in run.fills
        if each.strategy == "s0"
    ]  # fmt: skip


def books(run: SessionRun) -> tuple[int, ...]:
    ledger = run.ledger()
    return ledger.cash, ledger.fees, ledger.inventory, ledger.realized, run.equity()


def test_the_worlds_fill_orders() -> None:
    assert sum(len(told(World(seed).run())) for seed in SEEDS) > 200


@pytest.mark.parametrize("seed", SEEDS)
def test_an_instrument_that_nobody_trades_changes_nothing(seed: int) -> None:
    """But when the account is looked at: where its day begins, and at which slices it has peaks."""
    world = World(seed)
    world.limits = msgspec.structs.replace(
        world.limits, max_daily_loss_pct=None, max_drawdown_pct=None
    )
    alone = world.run()
    other = make_walk(random.Random(seed), OTHER, 60, T0 + random.Random(seed).choice((0, 7)))
    beside = world.run(timeline=world.timeline((OTHER, other)))
    assert (told(beside), books(beside)) == (told(alone), books(alone))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_strategy_that_does_nothing_changes_nothing(seed: int) -> None:
    world = World(seed)
    alone, beside = world.run(), world.run(OneInstrument(seed=seed), Idle())
    assert (told(beside), books(beside)) == (told(alone), books(alone))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_strategy_that_trades_changes_nothing_where_nothing_is_shared(seed: int) -> None:
    """Volume and the order of latencies are shared, so both are left out."""
    world = World(seed)
    world.latency, world.max_volume_ratio = LatencyModel(mean_ms=1_000), None
    alone = world.run()
    beside = world.run(OneInstrument(seed=seed), OneInstrument(seed=seed + 1))
    assert (told(beside), books(beside)) == (told(alone), books(alone))


@pytest.mark.parametrize("seed", SEEDS)
def test_another_time_changes_times_alone(seed: int) -> None:
    world = World(seed)
    first = world.run()
    later = 7 * 8 * NS_PER_DAY
    world.columns = {
        name: values + later if name.startswith("ts_") or name == "session_close" else values
        for name, values in world.columns.items()
    }
    world.rates = [(ts + later, rate) for ts, rate in world.rates]
    second = world.run(OneInstrument(seed=seed, origin=T0 + later))
    assert (told(second, later=later), books(second)) == (told(first), books(first))


@pytest.mark.parametrize("seed", SEEDS)
def test_another_name_of_the_currency_changes_nothing(seed: int) -> None:
    world = World(seed)
    first = world.run()
    world.instrument = msgspec.structs.replace(world.instrument, quote_currency="EUR")
    second = world.run(currency="EUR")
    assert (told(second), books(second)) == (told(first), books(first))


@pytest.mark.parametrize("seed", SEEDS)
def test_prices_times_ten_and_lots_of_a_tenth_are_the_same_money(seed: int) -> None:
    world = World(seed)
    tick = world.instrument.tick_float
    on_grid = {
        name: np.round(world.columns[name] / tick) for name in ("open", "high", "low", "close")
    }
    world.columns |= {name: values * tick for name, values in on_grid.items()}
    first = world.run()
    sizes = world.instrument.tick_size * 10, world.instrument.lot_size / 10
    world.instrument = msgspec.structs.replace(
        world.instrument, tick_size=sizes[0], lot_size=sizes[1]
    )
    world.columns |= {name: values * float(sizes[0]) for name, values in on_grid.items()}
    world.columns["volume"] = world.columns["volume"] / 10
    second = world.run()
    assert (told(second), books(second)) == (told(first), books(first))
