"""Corporate actions over random sessions: exact books, no look-ahead, equity without jumps."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from onetape.domain.corporate_actions import compute_terms
from onetape.domain.events import Event, OrderDenied, PositionAdjusted
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode
from onetape.portfolio.corporate_actions import compute_split_lots
from onetape.research.run_summary import summarize_run
from onetape.runtime.order_desk import OrderDesk
from tests.support.actions import (
    DELISTING,
    DIVIDEND,
    MERGER,
    PAYMENT,
    SPIN_OFF,
    SPLIT,
    STOCK_DIVIDEND,
    add_random_actions,
    make_action,
    with_actions,
)
from tests.support.random_strategies import RandomBars, RandomSlices, World, make_world
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import AAPL, at_rows, flat, make_timeline, opens

SEEDS = range(60)


def run(world: World) -> SessionRun:
    return world.run(RandomBars(seed=world.seed), RandomSlices(seed=world.seed + 1))


@pytest.mark.parametrize("trades", [False, True])
@pytest.mark.parametrize("others", [False, True])
def test_books_of_random_sessions_are_exact(trades: bool, others: bool) -> None:
    """The tape folded by hand gives the ledger; curve, books and round trips agree on the end.

    A ledger checks itself after every posting, so that these sessions end says that it balanced.
    """
    seen: Counter[CorporateActionKind] = Counter()
    for seed in SEEDS[: 30 if others else 60]:
        world = add_random_actions(make_world(seed, rows=40, trades=trades), others=others)
        session = run(world)
        lots: dict[tuple[str, str], int] = Counter()
        terms = {each.id: each for each in world.timeline.instruments}
        newest: CorporateAction | None = None
        dead: set[str] = set()
        for event in session.events:
            payload = event.payload
            match event.type:
                case "market.corporate_action":
                    assert isinstance(payload, CorporateAction)
                    newest = payload
                    dead |= {payload.instrument} if payload.kind.ends else set()
                case "position.adjusted":
                    assert isinstance(payload, PositionAdjusted)
                    assert newest is not None
                    key = payload.strategy, payload.instrument
                    new = terms.get(newest.new_instrument)
                    ratio = compute_terms(newest, terms[newest.instrument], new)
                    after = lots[key]
                    scaled, _ = compute_split_lots(after, ratio.top, ratio.bottom)
                    if newest.kind.scales:
                        after = scaled
                    if payload.other:
                        assert payload.received == scaled
                        other = payload.strategy, payload.other
                        lots[other] += scaled
                        assert payload.other_lots == lots[other]
                    after = 0 if newest.kind.ends else after
                    assert payload.lots == after
                    lots[key] = after
                    seen[newest.kind] += 1
                case "position.opened" | "position.changed" | "position.closed":
                    lots[payload.strategy, payload.instrument] = payload.lots  # type: ignore[union-attr]
                    assert payload.instrument not in dead  # type: ignore[union-attr]
                case _:
                    pass
        summary = summarize_run(world.timeline, session.events, digest=session.digest)
        for name, curve in summary.curves.strategies.items():
            assert int(curve.equity[-1]) == session.equity(name), seed
            ledger = session.ledger(name)
            held = {key: value for (owner, key), value in lots.items() if owner == name and value}
            assert held == {key: each.lots for key, each in ledger.held.items()}
            assert int(curve.cash[-1]) == ledger.cash
            nets = sum(each.pnl_net for each in summary.round_trips if each.strategy == name)
            assert nets == session.equity(name) - ledger.capital, seed
    wanted = (
        (DIVIDEND, PAYMENT, STOCK_DIVIDEND, SPIN_OFF, MERGER)
        if others
        else (DIVIDEND, SPLIT, DELISTING)
    )
    assert set(seen) == set(wanted)
    assert min(seen.values()) > 2, seen
    assert seen.total() > 40


def before(events: list[Event], ts: int) -> list[tuple[int, object]]:
    """What was decided before `ts`, without the header, whose id tells the data apart."""
    return [(each.ts_event, each.payload) for each in events[1:] if each.ts_event < ts]


@pytest.mark.parametrize("others", [False, True])
def test_nothing_before_an_action_knows_of_it(others: bool) -> None:
    """Without it, everything up to its time is the same: decisions, fills, books."""
    compared = moved = 0
    for seed in SEEDS[: 12 if others else 60]:
        world = add_random_actions(make_world(seed, rows=40), others=others)
        session = run(world)
        for action in world.timeline.actions:
            rest = [each for each in world.timeline.actions if each != action]
            other = run(World(seed, with_actions(world.timeline, rest), world.terms, world.limits))
            mine, theirs = (before(each.events, action.ts_known) for each in (session, other))
            assert mine == theirs, f"seed {seed}, {action}"
            compared += len(mine)
            moved += [each.payload for each in session.events[1:]] != [
                each.payload for each in other.events[1:]
            ]
    assert compared > (500 if others else 2_500)
    assert moved > (10 if others else 50)


def test_a_split_keeps_the_equity_but_for_rounding() -> None:
    """Equity right before and right after: half a tick of the new lots, and a unit of cash."""
    seen = 0
    for seed in SEEDS:
        world = make_world(seed, rows=40)
        chance = random.Random(seed)
        instrument = chance.choice(world.timeline.instruments)
        rows = world.timeline.rows_of(instrument.id)
        ts = int(world.timeline.columns["ts_open"][rows[len(rows) // 2]])
        value, divisor = chance.choice(((2.0, 1.0), (3.0, 2.0), (1.0, 10.0), (1.0, 0.1428572)))
        split = make_action(SPLIT, ts, value, divisor, instrument.id)
        world = World(seed, with_actions(world.timeline, [split]), world.terms, world.limits)
        equities: list[int] = []

        session_run = run_watched(world, RandomBars(seed=seed), equities)
        for adjusted in session_run.of_type(PositionAdjusted):
            (equity_before, equity_after) = equities
            tick = instrument.minor_per_tick_lot
            assert abs(equity_after - equity_before) <= abs(adjusted.lots) * tick / 2 + 1
            seen += 1
    assert seen > 10


def run_watched(world: World, strategy: RandomBars, equities: list[int]) -> SessionRun:
    """Run, and note the equity right before and after each action's books are adjusted."""
    from onetape.runtime.order_desk import OrderDesk

    whole = OrderDesk.adjust

    def watched(desk: OrderDesk, action: CorporateAction, cause: int) -> None:
        def equity() -> int:
            (runner,) = desk._runners.values()  # pyright: ignore[reportPrivateUsage]
            runner.valuation.expire()
            runner.valuation.refresh()
            return runner.valuation.equity

        equities.append(equity())
        whole(desk, action, cause)
        equities.append(equity())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OrderDesk, "adjust", watched)
        return world.run(strategy)


def test_random_sessions_meet_denials_of_delisted_instruments() -> None:
    codes = [
        each.code
        for seed in SEEDS
        for each in run(add_random_actions(make_world(seed, rows=40))).of_type(OrderDenied)
    ]
    assert codes.count(DenialCode.DELISTED) > 10


def test_curve_has_no_jump_at_a_split() -> None:
    """At constant value the curve is flat: bars of the old price before, of the new one after."""
    chance = random.Random(3)
    for _ in range(20):
        at = chance.randint(2, 8)
        timeline = make_timeline(flat(*[600] * at, *[200] * (10 - at)), flat(*[50] * 10))
        timeline = with_actions(timeline, [make_action(SPLIT, opens(at), 3)])
        done = run_session(timeline, at_rows({0: lambda ctx: ctx.buy(AAPL, 7)}))
        curve = summarize_run(timeline, done.events, digest="").curves.account
        assert set(curve.equity.tolist()) == {100_000 * E8}
