"""The causes of two sessions that differ sum to the difference of their books, and name what was
planted."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace

import msgspec
import pytest

from onetape.domain.instrument import make_equity
from onetape.domain.market import Bar, Quality
from onetape.domain.numbers import E8, to_minor
from onetape.domain.orders import Side
from onetape.domain.venue import BarClosed, OperatorAction, OperatorCommand
from onetape.execution.simulated.fees import BpsFees
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.slippage import FixedSlippage
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.parity.causes import Cause
from onetape.runtime.parity.comparison import Comparison, compare_paths
from onetape.runtime.parity.paths import SessionPaths
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.runtime.sessions.live_timeline import build_rows
from onetape.runtime.sessions.realtime import RealtimeIdentity, RealtimePolicy, RealtimeSession
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param
from tests.parity.test_realtime import SESSION, give_actions, list_specs, slice_bars
from tests.support.actions import SPLIT, add_random_actions, make_action
from tests.support.random_strategies import World, make_random_terms, make_world
from tests.support.runs import make_walks
from tests.support.session_runs import make_terms
from tests.support.timelines import MINUTE, T0, flat, make_columns

AAPL = make_equity("AAPL.XNAS")
TIMELINE = make_walks((AAPL,), 120, seed=5, timeframe="1m", length_ns=MINUTE)
CAPITAL = to_minor(20_000, "capital")


class InAndOut(Strategy):
    """Buys at every sixth bar and sells three bars later, whatever happens."""

    limit: bool = param(False)
    stops: bool = param(False)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        at = len(ctx.history(bar.instrument, 1_000))
        if at % 3:
            return
        side = Side.BUY if at % 6 else Side.SELL
        if self.stops and side is Side.SELL and not ctx.position(bar.instrument):
            raise ValueError("nothing to sell")
        limit = ctx.round_price(bar.instrument, bar.close, side) if self.limit else None
        ctx.order(bar.instrument, side, 7, limit=limit)


def heard(timeline: Timeline, flag: int) -> list[list[BarClosed]]:
    """The bars of each slice; those of slice `flag` are late."""
    return [
        [msgspec.structs.replace(each, quality=Quality.LATE.value * (number == flag))
         for each in bars]
        for number, bars in enumerate(slice_bars(timeline))
    ]  # fmt: skip


def run(
    world: World, specs: list[StrategySpec], paused_from: int = -1, flag: int = -1
) -> tuple[SessionPaths, dict[str, int]]:
    """A session in a world, and the equity of each strategy at its end, by its own books."""
    paths = SessionPaths()
    session = RealtimeSession(
        world.timeline.instruments, world.timeline.timeframe, world.timeline.source, specs,
        world.terms, world.limits, paths, RealtimeIdentity(session=SESSION), RealtimePolicy(),
    )  # fmt: skip
    session.start(int(world.timeline.columns["ts_open"].min()))
    actions = deque(world.timeline.actions)
    for number, bars in enumerate(heard(world.timeline, flag)):
        if number == paused_from and session.now + 1 < bars[0].ts_known:
            session.take(OperatorCommand(OperatorAction.PAUSE, "", "planted"), session.now + 1)
        give_actions(session, actions, bars[0].ts_known)
        session.take_rows(bars)
    give_actions(session, actions)
    session.stop("over", session.now + 1)
    return paths, {each.name: session.equity(each.name) for each in specs}


def check_sums(
    world: World,
    ours: SessionPaths,
    equities: dict[str, int],
    theirs: SessionPaths,
    other: dict[str, int],
) -> None:
    """The causes sum to what parts the equities, and a session parts from itself in nothing."""
    found = compare_paths(ours, theirs, world.timeline)
    for each in found.strategies:
        parts = [one.amount for one in found.differences if one.strategy == each.strategy]
        assert sum(parts) == equities[each.strategy] - other[each.strategy]
        assert each.session_result == equities[each.strategy] - CAPITAL
    same = compare_paths(ours, ours, world.timeline)
    assert not same.differences
    assert not same.partings


@pytest.mark.parametrize("seed", range(40))
def test_causes_sum_to_the_difference_of_the_books(seed: int) -> None:
    """Random worlds and strategies that do everything, at two venues that have nothing in common.

    What is compared with is the equity that each session knows of itself.
    """
    world = make_world(seed)
    chance = random.Random(f"other {seed}")
    other = replace(world, terms=make_random_terms(chance, world.timeline, seed))
    paused = chance.choice((-1, 12))
    ours, equities = run(world, list_specs(world), paused)
    theirs, other_equities = run(other, list_specs(world))
    check_sums(world, ours, equities, theirs, other_equities)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_causes_sum_over_corporate_actions(seed: int, others: bool) -> None:
    """Which met positions that are others; what is not paid yet counts, as in the equity."""
    world = add_random_actions(make_world(seed), others=others)
    chance = random.Random(f"other {seed}")
    other = replace(world, terms=make_random_terms(chance, world.timeline, seed))
    ours, equities = run(world, list_specs(world))
    theirs, other_equities = run(other, list_specs(world))
    check_sums(world, ours, equities, theirs, other_equities)


def test_order_missed_before_a_split_is_worth_what_it_would_have_become() -> None:
    """Ten shares at 100, two for one, 60 at the end: 200 were missed, and the split adds none."""
    share = make_equity("AAPL.XNAS")
    columns = make_columns(flat(100, 100, 100, 50, 60))
    split = make_action(SPLIT, T0 + 3 * MINUTE, 2.0, instrument=share.id)
    timeline = build_timeline([(share, columns)], source="t", timeframe="1m", actions=[split])
    sides = [
        run(
            World(0, timeline, make_terms(timeline), limits),
            [StrategySpec(name="s0", strategy=BuysTen(), capital=CAPITAL)],
        )
        for limits in (RiskLimits(max_order_quantity=1), RiskLimits())
    ]
    found = compare_paths(sides[0][0], sides[1][0], timeline)
    assert [(each.cause, each.amount) for each in found.differences] == [(Cause.RISK, -200 * E8)]


class BuysTen(Strategy):
    """At the first bar."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if len(ctx.history(bar.instrument, 9)) == 1:
            ctx.buy(bar.instrument, 10)


def plant(
    mine: VenueTerms | None = None, theirs: VenueTerms | None = None, paused_from: int = -1,
    flag: int = -1, **params: bool,
) -> Comparison:  # fmt: skip
    """The same strategy at a plain venue, but for what is planted."""
    plain = make_terms(TIMELINE)
    limits = RiskLimits(max_leverage=4, max_position_quantity=1_000)
    sides = [
        run(
            World(0, TIMELINE, terms or plain, limits),
            [StrategySpec(name="s0", strategy=InAndOut(**params), capital=CAPITAL)],
            paused_from if number == 0 else -1, flag,
        )
        for number, terms in enumerate((mine, theirs))
    ]  # fmt: skip
    rows = [row for bars in heard(TIMELINE, flag) for row in bars]
    return compare_paths(sides[0][0], sides[1][0], build_rows((AAPL,), lambda: rows, "1m", "test"))


def causes(found: Comparison) -> set[Cause]:
    return {each.cause for each in found.differences}


def test_nothing_planted_is_nothing_found() -> None:
    found = plant()
    assert not found.differences
    assert found.strategies[0].orders == found.strategies[0].same_orders == 40
    assert found.strategies[0].session_result != 0


def test_fees_are_fees() -> None:
    found = plant(make_terms(TIMELINE, fees=BpsFees(maker_bps=10, taker_bps=10)))
    assert causes(found) == {Cause.FEES}
    assert found.total() < 0
    assert not found.partings


def test_slippage_is_price() -> None:
    """Three ticks (cents) on 7 shares of each of the 39 orders that fill."""
    found = plant(make_terms(TIMELINE, slippage=FixedSlippage(ticks=3)))
    assert causes(found) == {Cause.PRICE}
    filled = sum(1 for each in found.differences if each.session and each.session.fills)
    assert found.total() == -filled * 7 * 3 * 1_000_000
    assert filled >= 39


def test_latency_is_latency() -> None:
    """A latency beyond a bar: the fills of market orders come at later opens."""
    found = plant(make_terms(TIMELINE, latency=LatencyModel(mean_ms=60_001)))
    assert Cause.LATENCY in causes(found)
    assert causes(found) <= {Cause.LATENCY, Cause.PRICE, Cause.MISSED}


def test_a_thin_market_is_size() -> None:
    volume = float(TIMELINE.columns["volume"].min())
    found = plant(make_terms(TIMELINE, max_volume_ratio=3 / volume), limit=True)
    assert Cause.SIZE in causes(found)


def test_a_pause_is_risk() -> None:
    found = plant(paused_from=60)
    assert Cause.RISK in causes(found)
    assert not found.partings, "a strategy is not told, and goes on deciding"


def test_what_differs_in_a_doubtful_bar_is_data() -> None:
    slow = make_terms(TIMELINE, slippage=FixedSlippage(ticks=3))
    found = plant(slow, flag=3)
    assert causes(found) == {Cause.PRICE, Cause.DATA}
    assert sum(each.cause is Cause.DATA for each in found.differences) == 1


def test_a_strategy_that_goes_another_way_is_a_decision() -> None:
    """Its entry is denied, it falls over having nothing to sell, and the backtest goes on."""
    found = plant(paused_from=60, stops=True)
    (parting,) = found.partings
    assert parting.session is None
    assert parting.backtest is not None
    assert parting.before == found.strategies[0].decisions > 0
    assert causes(found) == {Cause.RISK, Cause.DECISION}
