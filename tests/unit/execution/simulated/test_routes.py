"""Latency by order: what a delay depends on, and what it does not."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, pstdev

import msgspec
import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderReplaced,
    OrderReplacePending,
    OrderSubmitted,
)
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderType, Side, TimeInForce
from onetape.execution.simulated.routes import (
    DelayModel,
    FixedDelay,
    NormalDelay,
    RecordedDelay,
    RouteTerms,
    build_routes,
    compute_delay_ns,
    compute_order_word,
    compute_sample_index,
)
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.strategy.context import Context
from onetape.strategy.library.sma_cross import SmaCross
from onetape.strategy.sdk import Strategy
from onetape.tape.store import MemoryTape
from tests.support.random_strategies import RandomBars, make_world
from tests.support.session_runs import make_terms, run_session
from tests.support.timelines import AAPL, SECOND, T0, at_rows, closes, flat, make_timeline, scripted

MS = 1_000_000
RECORDED = RecordedDelay(samples_ms=(1, 2.5, 400))


def submit(identity: str) -> OrderSubmitted:
    return OrderSubmitted(
        identity, "s", AAPL, Side.BUY, OrderType.LIMIT, TimeInForce.GTC, 1, 1, 0, 0
    )


def delays(model: DelayModel, count: int, seed: int = 0) -> list[int]:
    routes = build_routes(seed, model)
    return [compute_delay_ns(routes, submit(f"abc-s0-{n}"), T0 + n) for n in range(count)]


def test_delay_is_drawn_from_what_was_measured() -> None:
    drawn = delays(RECORDED, 3_000)
    assert set(drawn) == {MS, 2_500_000, 400 * MS}
    assert all(900 < drawn.count(each) < 1_100 for each in set(drawn))
    assert drawn == delays(RECORDED, 3_000)
    assert drawn != delays(RECORDED, 3_000, seed=1)


def test_normal_delay_has_its_moments_and_a_fixed_one_has_none() -> None:
    drawn = delays(NormalDelay(mean_ms=10, std_ms=2), 4_000)
    assert fmean(drawn) == pytest.approx(10 * MS, rel=0.01)
    assert pstdev(drawn) == pytest.approx(2 * MS, rel=0.03)
    assert set(delays(FixedDelay(ms=7), 10)) == {7 * MS}


def test_delay_of_an_order_is_known_forever() -> None:
    """These numbers may never change: a tape is verified by drawing them again."""
    assert compute_order_word("abc-s0-1") == WORD
    assert delays(NormalDelay(mean_ms=10, std_ms=2), 4) == DRAWN
    assert [compute_sample_index(word, 3) for word in (0, 2**32 // 3 + 1, 2**32 - 1)] == [0, 1, 2]


WORD = 3_407_638_424
DRAWN = [10_857_421, 11_630_859, 8_859_375, 10_714_843]


def test_delay_does_not_depend_on_the_session_and_does_on_all_else() -> None:
    routes = build_routes(0, RecordedDelay(samples_ms=tuple(range(5_000))))

    def draw(command: OrderSubmitted | OrderCancelPending | OrderReplacePending, now: int) -> int:
        return compute_delay_ns(routes, command, now)

    first = draw(submit("0123abcd-trend-7"), T0)
    assert draw(submit("ffffffff-trend-7"), T0) == first
    others = [
        draw(submit("0123abcd-trend-8"), T0),
        draw(submit("0123abcd-other-7"), T0),
        draw(submit("0123abcd-trend-7"), T0 + 1),
        draw(OrderCancelPending("0123abcd-trend-7"), T0),
        draw(OrderReplacePending("0123abcd-trend-7", 1, 1, 0), T0),
    ]
    assert len({first, *others}) == 6


def test_each_kind_of_command_has_its_own_delay() -> None:
    """A limit order arrives after 1 s, its change after 2 s more, its cancel after 4 s."""
    routes = build_routes(0, FixedDelay(ms=1_000), FixedDelay(ms=4_000), FixedDelay(ms=2_000))

    def change(ctx: Context) -> None:
        (order,) = ctx.open_orders()
        ctx.replace(order.client_order_id, AAPL, limit=60.0)

    def cancel(ctx: Context) -> None:
        (order,) = ctx.open_orders()
        ctx.cancel(order.client_order_id)

    script = {0: lambda ctx: ctx.buy(AAPL, 1, limit=50.0), 2: change, 5: cancel}
    run = run_session(make_timeline(flat(*[100] * 10)), at_rows(script), routes=routes)
    (accepted,) = (each for each in run.events if isinstance(each.payload, OrderAccepted))
    assert accepted.ts_event == closes(0) + SECOND
    times = [each.ts_event for each in run.events
             if isinstance(each.payload, OrderReplaced | OrderCanceled)]  # fmt: skip
    # A change that arrives inside a bar is answered when the bar is known.
    assert times == [closes(3), closes(6)]
    same = build_routes(0, FixedDelay(ms=5))
    assert same.submit == same.cancel == same.replace


def trades(every: int) -> Strategy:
    def on_bar(_bar: object, ctx: Context) -> None:
        number = round((ctx.now - T0) / SECOND)
        if number % every == 0:
            ctx.buy(AAPL, 1)

    return scripted(on_bar=on_bar)


def test_another_strategy_moves_no_fill() -> None:
    """What the numbers of a session's commands can't promise."""
    timeline = make_timeline([(100 + n % 7, 108, 99, 100 + n % 5) for n in range(60)], step=SECOND)
    how = {"limits": RiskLimits(max_leverage=100)}
    routes = build_routes(3, NormalDelay(mean_ms=2_000, std_ms=1_500))
    alone = run_session(timeline, trades(3), routes=routes, **how)
    both = run_session(timeline, trades(3), trades(1), routes=routes, **how)
    mine = [
        [(each.ts_fill, each.ticks, each.lots) for each in run.fills if each.strategy == "s0"]
        for run in (alone, both)
    ]
    assert mine[0] == mine[1]
    assert len(mine[0]) > 10
    assert len({each.ts_fill for each in both.fills if each.strategy == "s1"}) > 10


def test_commands_of_a_strategy_keep_their_order_and_those_of_others_do_not_wait() -> None:
    routes = build_routes(0, RecordedDelay(samples_ms=(0, 30_000)))
    timeline = make_timeline(flat(*[100] * 120), step=SECOND)
    how = {"limits": RiskLimits(max_leverage=100)}
    run = run_session(timeline, trades(1), trades(1), routes=routes, **how)
    ids = [each.client_order_id for each in run.of_type(OrderAccepted)]
    for name in ("s0", "s1"):
        numbers = [int(each.rpartition("-")[2]) for each in ids if f"-{name}-" in each]
        assert numbers == sorted(numbers)
        assert len(numbers) > 60
    assert ids != sorted(ids, key=lambda each: int(each.rpartition("-")[2]))


def test_session_in_parts_equals_the_whole_one() -> None:
    """What is under way on every connection survives a snapshot after each row."""
    world = make_world(11, rows=30)
    routes = build_routes(5, NormalDelay(mean_ms=90_000, std_ms=60_000), FixedDelay(ms=100))
    terms = msgspec.structs.replace(world.terms, routes=routes)

    def open_it(tape: MemoryTape) -> BacktestSession:
        specs = [StrategySpec(name=f"s{n}", strategy=RandomBars(seed=n), capital=20_000 * E8)
                 for n in (1, 2)]  # fmt: skip
        return BacktestSession(world.timeline, specs, terms, world.limits, tape, SessionIdentity())

    tape = MemoryTape()
    whole = open_it(tape)
    whole.start()
    waiting = 0
    for _, stop in whole.cut_blocks(1):
        whole.advance(stop)
        state = encode_state(whole.save())
        again = open_it(MemoryTape())
        again.restore(decode_state(state))
        assert encode_state(again.save()) == state
        waiting += len(whole.save().venue.queue)
    assert waiting > 20


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (lambda: RecordedDelay(samples_ms=()), "0 samples of latency"),
        (lambda: RecordedDelay(samples_ms=(1,) * 10_001), "10,001 samples of latency"),
        (lambda: RecordedDelay(samples_ms=(1, -1)), "-1 ms is no delay"),
        (lambda: FixedDelay(ms=-1), "-1 ms is no delay"),
        (lambda: NormalDelay(mean_ms=1e-9), "is no delay"),
    ],
)
def test_delays_that_are_none(model: Callable[[], DelayModel], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        build_routes(0, model())


def test_compiled_host_refuses_them_by_name() -> None:
    timeline = make_timeline(flat(*[100] * 10))
    terms = make_terms(timeline, routes=build_routes(0, FixedDelay(ms=1)))
    spec = StrategySpec(name="s", strategy=SmaCross(), capital=E8)
    with pytest.raises(ConfigError, match="latency by order, which the compiled host does not"):
        CompiledHost(timeline, spec, terms, RiskLimits())


def test_routes_are_values() -> None:
    assert build_routes(1, FixedDelay(ms=1)) == build_routes(1, FixedDelay(ms=1))
    assert isinstance(build_routes(1, RECORDED), RouteTerms)
