"""Circuit breakers: what trips them, what they do, and when they look again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from onetape.domain.breakers import BreakerAction, BreakerKind
from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    BreakerRearmed,
    BreakerTripped,
    KillSwitchSet,
    OrderAccepted,
    OrderApproved,
    OrderCanceled,
    OrderRejected,
    OrderSubmitted,
)
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode, RejectCode
from onetape.execution.simulated.terms import Transfer
from onetape.risk.breakers import (
    BreakerLimits,
    build_breakers,
    is_rejection_rate_within,
    is_streak_within,
)
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.context import Context
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MINUTE,
    MSFT,
    OTHER,
    T0,
    at_rows,
    flat,
    make_columns,
    make_timeline,
)

Action = Callable[[Context], Any]
DAILY, DRAWDOWN, STREAK, REJECTIONS, STALE = BreakerKind
PAUSE, FLATTEN, KILL = BreakerAction


def breaker(kind: BreakerKind, action: BreakerAction = PAUSE, **how: Any) -> RiskLimits:
    """A cash account with one breaker."""
    return RiskLimits(breakers=(BreakerLimits(kind=kind, action=action, **how),))


def run(
    *strategies: dict[int, Action], prices: tuple[float, ...], session: int = 1_000, **how: Any
) -> SessionRun:
    columns = make_columns(flat(*prices), session=session)
    done = run_session(make_timeline((EQUITY, columns)), *map(at_rows, strategies), **how)
    assert done.quarantined == []
    return done


def buy(lots: int, **how: Any) -> Action:
    return lambda ctx: ctx.buy(AAPL, lots, **how)


def rows_of(session: SessionRun, kind: type[Any]) -> list[int]:
    """After which bar each event of a type came, counted from 0."""
    return [(each.ts_event - T0) // MINUTE - 1 for each in session.events
            if isinstance(each.payload, kind)]  # fmt: skip


# What trips. 500 shares at 100 on 100,000: a fall to 94 loses 3,000, which is 3 %.


@pytest.mark.parametrize(
    ("kind", "prices", "pct", "row", "actual"),
    [
        # within the limit is no trip; beyond it is, at the slice where it happens
        (DAILY, (100, 100, 100, 94, 94), "3", None, 0),
        (DAILY, (100, 100, 100, 94, 93.99), "3", 4, 3_005),
        (DRAWDOWN, (100, 100, 110, 104, 104), "2.8", 3, 3_000),  # 3,000 of 105,000 is 2.857 %
        (DRAWDOWN, (100, 100, 110, 104, 104), "2.9", None, 0),
        (DAILY, (100, 100, 110, 104, 104), "2.8", None, 0),  # the day is still ahead
    ],
)
def test_breaker_of_a_loss(
    kind: BreakerKind, prices: tuple[float, ...], pct: str, row: int | None, actual: float
) -> None:
    session = run({0: buy(500)}, prices=prices, limits=breaker(kind, pct=pct))
    assert rows_of(session, BreakerTripped) == ([] if row is None else [row])
    for trip in session.of_type(BreakerTripped):
        assert (trip.kind, trip.strategy, trip.action, trip.unit) == (kind, "s0", PAUSE, "USD")
        assert trip.actual == actual


def test_breaker_of_the_account_looks_at_the_sum() -> None:
    """3,000 lost are 1.5 % of the 200,000 of two strategies, and stop both."""
    late = {0: buy(500)}, {4: buy(1)}
    prices = (100, 100, 100, 94, 94, 94)
    tight = run(*late, prices=prices, limits=breaker(DAILY, pct="1.4", is_account=True))
    (trip,) = tight.of_type(BreakerTripped)
    assert (trip.strategy, trip.actual, trip.limit) == ("", 3_000, 2_800)
    assert [(each.strategy, each.code) for each in tight.denied] == [("s1", DenialCode.BREAKER)]
    alone = run(*late, prices=prices, limits=breaker(DAILY, pct="1.4"))
    assert [each.strategy for each in alone.of_type(BreakerTripped)] == ["s0"]
    assert alone.denied == []


def trade(ctx: Context) -> None:
    held = ctx.position(AAPL)
    if held:
        ctx.sell(AAPL, held)
    else:
        ctx.buy(AAPL, 10)


@pytest.mark.parametrize(
    ("prices", "trips"),
    [
        # bought at 1, sold at 2, bought at 3 ...: three trips that lose, the third trips
        ((9, 100, 99, 100, 99, 100, 99, 100, 99), 1),
        ((9, 100, 99, 100, 101, 100, 99, 100, 99), 0),  # a winner between them
        ((9, 100, 99, 100, 100, 100, 99, 100, 99), 0),  # and one that earns nothing
    ],
)
def test_breaker_of_a_losing_streak(prices: tuple[float, ...], trips: int) -> None:
    session = run(
        dict.fromkeys(range(8), trade), prices=prices, limits=breaker(STREAK, round_trips=3)
    )
    found = session.of_type(BreakerTripped)
    assert len(found) == trips
    for trip in found:
        assert (trip.actual, trip.limit, trip.unit) == (3, 3, "losing round trips")


def test_turning_a_position_around_ends_its_round_trip() -> None:
    def turn(ctx: Context) -> None:
        (ctx.sell if ctx.position(AAPL) > 0 else ctx.buy)(AAPL, 20 if ctx.position(AAPL) else 10)

    # long from 100, short from 99, long from 100: two trips have lost when the third begins
    session = run(dict.fromkeys(range(4), turn), prices=(9, 100, 99, 100, 101),
                  limits=breaker(STREAK, round_trips=2))  # fmt: skip
    assert rows_of(session, BreakerTripped) == [3]


@pytest.mark.parametrize(
    ("rejected", "answered", "orders", "pct", "within"),
    [
        (2, 3, 4, 50, True),  # too few answers to judge
        (2, 4, 4, 50, True),  # the limit itself
        (3, 4, 4, 50, False),
        (0, 4, 4, 50, True),
        (2**31, 2**31, 4, 99, False),
    ],
)
def test_rule_of_the_rejection_rate(
    rejected: int, answered: int, orders: int, pct: int, within: bool
) -> None:
    assert is_rejection_rate_within(rejected, answered, orders, pct * E8 // 100) is within


def test_rule_of_the_losing_streak() -> None:
    assert [is_streak_within(number, 3) for number in range(5)] == [True] * 3 + [False] * 2


def test_breaker_of_rejections_trips_on_the_venue_s_answers() -> None:
    """No order of a backtest is rejected as a whole, so the answers come from here."""
    session = run({}, prices=(100,) * 4, limits=breaker(REJECTIONS, orders=4, pct=50))
    breakers, runner = session.session.pipeline.breakers, session.session.runners["s0"]
    assert breakers is not None
    (watched,) = breakers.watched
    accepted = OrderAccepted("s0-1", "v1")
    rejected = OrderRejected("s0-2", RejectCode.INSUFFICIENT_FUNDS, "no money")
    tripped = []
    for answer in (rejected, rejected, rejected, accepted, accepted, accepted, rejected, rejected,
                   rejected):  # fmt: skip
        breakers.hear(runner, answer, None)
        tripped.append(watched.trip is not None)
        if watched.trip is not None and len(tripped) == 4:
            watched.trip = None
    # 3 of the first 4; then 2, 1, 2 and 2 of the last four; then 3 of them
    assert tripped == [False, False, False, True, False, False, False, False, True]
    trip = watched.trip
    assert trip is not None
    assert (trip.actual, trip.limit, trip.unit) == (75, 50, "% of 4 answers")


# Stale data.


def silent(gap: int, *, session: int = 1_000) -> Any:
    """MSFT every minute; AAPL too, but for `gap` minutes after its third bar."""
    aapl = make_columns(flat(*[100] * 6), session=session)
    for name in ("ts_open", "ts_close", "ts_known"):
        aapl[name][3:] += gap * MINUTE
    aapl["session_close"][3:] += gap * MINUTE
    if session >= 6:
        aapl["session_close"][:] = aapl["ts_close"][-1]
    msft = make_columns(flat(*[50] * 30))
    return make_timeline((EQUITY, aapl), (OTHER, msft))


@pytest.mark.parametrize(
    ("gap", "session", "trips"), [(3, 1_000, 0), (4, 1_000, 0), (5, 1_000, 1), (20, 3, 0)]
)
def test_breaker_of_stale_data(gap: int, session: int, trips: int) -> None:
    """Five minutes behind the third bar it trips, unless the session is over or a bar has come."""
    done = run_session(silent(gap, session=session), at_rows({}), limits=breaker(STALE, minutes=5))
    found = [each for each in done.events if isinstance(each.payload, BreakerTripped)]
    assert len(found) == trips
    for each in found:
        assert each.ts_event == T0 + 3 * MINUTE + 5 * MINUTE
        assert (each.payload.instrument, each.payload.actual, each.payload.limit) == (AAPL, 5, 5)


def test_stale_data_stops_only_those_who_hear_it() -> None:
    buyer = at_rows({12: lambda ctx: ctx.buy(MSFT, 1)}, instrument=MSFT)
    done = run_session(
        silent(20), buyer, at_rows({12: lambda ctx: ctx.buy(MSFT, 1)}, instrument=MSFT),
        limits=breaker(STALE, minutes=5), instruments=[(AAPL, MSFT), (MSFT,)],
    )  # fmt: skip
    assert [(each.strategy, each.code) for each in done.denied] == [("s0", DenialCode.BREAKER)]
    assert [fill.strategy for fill in done.fills] == ["s1"]


# What it does.

FALL = (100, 100, 100, 90, 90, 90, 90)
"""500 shares of 100,000 lose 5 % behind bar 3."""


def test_pause_cancels_entries_and_lets_reducing_orders_through() -> None:
    session = run(
        {0: buy(500), 1: buy(100, limit=50), 2: lambda ctx: ctx.sell(AAPL, 300, stop=40,
                                                                     reduce_only=True),
         4: buy(10), 5: lambda ctx: ctx.sell(AAPL, 200)},
        prices=FALL, limits=breaker(DAILY, pct=3),
    )  # fmt: skip
    assert rows_of(session, BreakerTripped) == [3]
    (canceled,) = session.of_type(OrderCanceled)
    entry = session.of_type(OrderSubmitted)[1]
    assert canceled.client_order_id == entry.client_order_id
    (denied,) = session.denied
    assert (denied.code, denied.actual, denied.limit) == (DenialCode.BREAKER, 510, 0)
    assert [fill.lots * fill.side for fill in session.fills] == [500, -200]


def test_flatten_closes_everything_and_cancels_the_rest() -> None:
    session = run(
        {0: buy(500), 1: buy(100, limit=50),
         2: lambda ctx: ctx.sell(AAPL, 500, stop=40, reduce_only=True)},
        prices=FALL, limits=breaker(DAILY, FLATTEN, pct=3),
    )  # fmt: skip
    assert [fill.lots * fill.side for fill in session.fills] == [500, -500]
    assert len(session.of_type(OrderCanceled)) == 2
    assert session.session.save().desk.orders == []
    trip = next(each for each in session.events if isinstance(each.payload, BreakerTripped))
    closing = [each for each in session.events if isinstance(each.payload, OrderApproved)][-1]
    assert closing.causation_id == trip.seq
    assert closing.payload.client_order_id.endswith("-s0-close1")


def test_flatten_goes_on_until_it_is_flat() -> None:
    """The bars give 100 shares each: the closing order waits, and is not sent twice."""
    rows = [(*[price] * 4, 1_000.0) for price in (100, 100, 100, 90, 90, 90, 90, 90, 90, 90)]
    columns = make_columns(rows)
    session = run_session(
        make_timeline((EQUITY, columns)), at_rows({0: buy(300)}), max_volume_ratio=0.1,
        limits=breaker(DAILY, FLATTEN, pct="0.5"),
    )  # fmt: skip
    assert [fill.lots * fill.side for fill in session.fills] == [100, 100, 100, -100, -100, -100]
    assert len(session.of_type(OrderSubmitted)) == 2


def test_flatten_closes_what_no_limit_would_let_out() -> None:
    limits = RiskLimits(
        max_orders_per_minute=1, max_order_quantity=500,
        breakers=(BreakerLimits(kind=DAILY, action=FLATTEN, pct=3),),
    )  # fmt: skip
    hectic = {0: buy(500), **{row: buy(1) for row in (1, 2, 3, 4)}}
    session = run(hectic, prices=FALL, limits=limits)
    assert session.ledger().held == {}


def test_kill_sets_the_switch_for_everybody() -> None:
    session = run(
        {0: buy(500)}, {1: buy(1, limit=50), 4: buy(1)}, prices=FALL,
        limits=breaker(DAILY, KILL, pct=3),
    )  # fmt: skip
    trip, switch = (
        next(each for each in session.events if isinstance(each.payload, kind))
        for kind in (BreakerTripped, KillSwitchSet)
    )
    assert switch.causation_id == trip.seq
    assert switch.payload == KillSwitchSet(active=True, reason="breaker daily_loss of s0")
    assert [each.code for each in session.denied] == [DenialCode.KILL_SWITCH]
    assert len(session.of_type(OrderCanceled)) == 1


# When it looks again.


def test_cooldown_rearms_and_counts_anew() -> None:
    """Tripped behind bar 3, armed again behind bar 5 at 95,000; 3 % of that more behind bar 7."""
    session = run(
        {0: buy(500), 4: buy(1), 6: buy(10)}, prices=(*FALL[:5], 90, 90, 84, 84),
        limits=breaker(DRAWDOWN, pct=3, cooldown_minutes=2),
    )  # fmt: skip
    assert rows_of(session, BreakerTripped) == [3, 7]
    assert rows_of(session, BreakerRearmed) == [5]
    assert [(each.code, each.actual) for each in session.denied] == [(DenialCode.BREAKER, 501)]
    first, second = session.of_type(BreakerTripped)
    assert first.ts_rearm == T0 + 6 * MINUTE
    assert second.limit == 95_000 * 0.03


def test_next_session_rearms() -> None:
    session = run(
        {0: buy(500), 4: buy(1), 5: buy(1)}, prices=FALL, session=5,
        limits=breaker(DAILY, pct=3, rearm_next_session=True),
    )  # fmt: skip
    assert rows_of(session, BreakerRearmed) == [5]
    assert rows_of(session, BreakerTripped) == [3]
    assert [fill.lots for fill in session.fills] == [500, 1]
    assert len(session.denied) == 1


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (BreakerLimits(kind=DAILY, action=PAUSE), "a daily_loss breaker needs pct"),
        (BreakerLimits(kind=STREAK, action=PAUSE, round_trips=0), "needs round_trips"),
        (BreakerLimits(kind=REJECTIONS, action=PAUSE, pct=1), "needs orders"),
        (BreakerLimits(kind=STALE, action=PAUSE), "needs minutes"),
        (BreakerLimits(kind=DAILY, action=KILL, pct=1, cooldown_minutes=1), "lifted by an op"),
    ],
)
def test_breaker_that_says_too_little_is_refused(limits: BreakerLimits, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        build_breakers([limits])


def test_session_without_breakers_has_none() -> None:
    session = run({}, prices=(1, 2))
    assert session.session.save().pipeline.breakers is None
    assert session.session.pipeline.breakers is None


def test_compiled_host_refuses_breakers_by_name() -> None:
    timeline = make_timeline(flat(1, 2, 3))
    spec = StrategySpec(name="s0", strategy=at_rows({}), capital=E8)
    with pytest.raises(ConfigError, match=r"risk\.breakers, which the compiled host does not"):
        CompiledHost(timeline, spec, make_terms(timeline), breaker(DAILY, pct=1))


def test_capital_that_is_transferred_is_no_loss() -> None:
    """s0 gives 40,000 of its 100,000 away: nothing has been lost, so nothing trips."""
    timeline = make_timeline((EQUITY, make_columns(flat(*[100] * 6))))
    terms = msgspec.structs.replace(
        make_terms(timeline), transfers=(Transfer(T0 + 3 * MINUTE, "s0", "s1", 40_000 * E8),)
    )
    done = run_session(timeline, at_rows({}), at_rows({}), terms=terms,
                       limits=breaker(DRAWDOWN, pct=1))  # fmt: skip
    assert done.ledger("s0").cash == 60_000 * E8
    assert done.of_type(BreakerTripped) == []


@pytest.mark.parametrize(("pct", "trips"), [(9, 1), (11, 0)])
@pytest.mark.parametrize("kind", [DRAWDOWN, DAILY])
def test_capital_that_is_transferred_leaves_the_share_that_is_lost_as_it_is(
    kind: BreakerKind, pct: int, trips: int
) -> None:
    """s0 has lost 10,000 of 100,000 and gives half of the rest away: a tenth is lost."""
    timeline = make_timeline((EQUITY, make_columns(flat(100, 100, 80, 80, 80, 80))))
    terms = msgspec.structs.replace(
        make_terms(timeline), transfers=(Transfer(T0 + 5 * MINUTE - 1, "s0", "s1", 45_000 * E8),)
    )
    done = run_session(
        timeline, at_rows({0: buy(500)}), at_rows({}), terms=terms,
        limits=breaker(kind, pct=pct),
    )  # fmt: skip
    assert done.ledger("s0").cash == 5_000 * E8
    assert len(done.of_type(BreakerTripped)) == trips
