"""The pipeline: order of events, numbers, callbacks, timers, failures that stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import pytest

from onetape.domain.events import (
    Event,
    KillSwitchSet,
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderDenied,
    OrderEvent,
    OrderFilled,
    OrderSubmitted,
    SessionStarted,
    SessionStopped,
    SignalRecorded,
    StrategyQuarantined,
    TimerFired,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar, TimeSlice
from onetape.domain.numbers import E8, to_minor
from onetape.domain.orders import DenialCode, Intent, OrderIntent
from onetape.execution.simulated.latency import LatencyModel
from onetape.features.average import Sma
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.pacing import Pacer
from onetape.runtime.pipeline import STEPS_WITHOUT_TIME_MAX
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MINUTE,
    MSFT,
    OTHER,
    SECOND,
    T0,
    Callbacks,
    at_rows,
    closes,
    flat,
    make_columns,
    make_timeline,
    opens,
    scripted,
)

FIVE = flat(*[100] * 5)


def told(event: Event) -> tuple[int, str, int, int]:
    return event.seq, event.type, event.correlation_id, event.causation_id


def of(session: SessionRun, *kinds: type[Any], strategy: str = "") -> list[Event]:
    """Events whose payload is of these kinds (and of that strategy)."""
    return [
        each for each in session.events
        if isinstance(each.payload, kinds)
        and (not strategy or getattr(each.payload, "strategy", strategy) == strategy)
    ]  # fmt: skip


def nothing(event: object, ctx: Context) -> None:
    """A strategy that listens and does nothing."""


def run_paced(
    timeline: Timeline,
    *strategies: Strategy,
    on_slice_end: Callable[[BacktestSession, int], None] | None = None,
    **models: Any,
) -> SessionRun:
    """The same session, a time slice at a time; calls back with the time after each."""
    specs = [
        StrategySpec(name=f"s{at}", strategy=each, capital=to_minor(100_000, "capital"))
        for at, each in enumerate(strategies)
    ]
    tape = MemoryTape()
    limits = RiskLimits(max_leverage=4)
    session = BacktestSession(
        timeline, specs, make_terms(timeline, **models), limits, tape, SessionIdentity()
    )

    def on_progress(progress: Any) -> None:
        if on_slice_end is not None:
            on_slice_end(session, progress.ts)

    session.run(on_progress, Pacer(10**15))
    return SessionRun(session, list(MemoryTapeReader(tape).events()), tape.digest)


# Order and numbers.


def test_pipeline_numbers_events_and_pinned_rows_in_one_sequence() -> None:
    session = run_session(make_timeline(FIVE[:4]), at_rows({1: lambda ctx: ctx.buy(AAPL, 10)}))
    assert [told(each) for each in session.events] == [
        (0, "session.started", 0, 0),
        (1, "account.deposited", 0, 0),
        # rows 0 and 1 are 2 and 3
        (4, "intent.order", 3, 3),
        (5, "risk.approved", 3, 4),
        (6, "order.submitted", 3, 5),
        (7, "order.accepted", 3, 6),
        # row 2 is 8
        (9, "order.filled", 3, 8),
        (10, "position.opened", 3, 9),
        # row 3 is 11
        (12, "session.stopped", 0, 0),
    ]
    times = [each.ts_event for each in session.events]
    assert times == [T0, T0, *[closes(1)] * 4, *[closes(2)] * 2, closes(3)]


@pytest.mark.parametrize(
    "strategy",
    [scripted(on_bar=nothing), scripted(on_slice=nothing), scripted(on_timer=nothing)],
    ids=["bars", "slices", "nothing"],
)
def test_pipeline_footer_stands_behind_every_row(strategy: Strategy) -> None:
    """Also behind rows at which nothing happened: seq and time are those of the end of data."""
    session = run_session(make_timeline(FIVE), strategy)
    footer = session.events[-1]
    assert isinstance(footer.payload, SessionStopped)
    assert footer.payload.market_events == 5
    assert (footer.seq, footer.ts_event) == (2 + 5, closes(4))


def test_pipeline_no_event_takes_the_seq_of_a_pinned_row() -> None:
    """A command between quiet rows stands behind the rows that are over."""

    def control(session: BacktestSession, ts: int) -> None:
        if ts == closes(2):
            session.pipeline.control(KillSwitchSet(active=True, reason="test"), ts)

    session = run_paced(make_timeline(FIVE), scripted(on_bar=nothing), on_slice_end=control)
    (switch,) = of(session, KillSwitchSet)
    assert switch.seq == 2 + 3
    assert session.events[-1].seq == 2 + 5 + 1


def test_pipeline_result_does_not_depend_on_the_size_of_blocks() -> None:
    def strategy() -> Strategy:
        return at_rows({0: lambda ctx: ctx.buy(AAPL, 10), 3: lambda ctx: ctx.sell(AAPL, 10)})

    timeline = make_timeline(flat(*[100] * 8))
    assert run_paced(timeline, strategy()).digest == run_session(timeline, strategy()).digest


def test_pipeline_chain_leads_from_a_fill_back_to_the_bar_that_started_it() -> None:
    session = run_session(
        make_timeline(FIVE), at_rows({1: lambda ctx: ctx.buy(AAPL, 10)}),
        latency=LatencyModel(mean_ms=1_000),
    )  # fmt: skip
    by_seq = {each.seq: each for each in session.events}
    (accepted,) = of(session, OrderAccepted)
    chain: list[str] = []
    cause = accepted.seq
    while cause in by_seq:
        chain.append(by_seq[cause].type)
        cause = by_seq[cause].causation_id
    assert chain == ["order.accepted", "order.submitted", "risk.approved", "intent.order"]
    assert cause == 3  # the pinned row
    started = {each.correlation_id for each in session.events[2:-1]}
    assert started == {3}


def test_pipeline_command_is_on_the_tape_before_the_venue_answers() -> None:
    def change(ctx: Context) -> None:
        ctx.cancel(ctx.open_orders()[0].client_order_id)

    session = run_session(
        make_timeline(FIVE), at_rows({0: lambda ctx: ctx.buy(AAPL, 10, limit=90), 2: change})
    )
    kinds = [type(each.payload) for each in session.events]
    assert kinds.index(OrderSubmitted) < kinds.index(OrderAccepted)
    assert kinds.index(OrderCancelPending) < kinds.index(OrderCanceled)


def test_pipeline_intent_of_an_order_update_is_caused_by_that_update() -> None:
    def on_order_update(update: OrderEvent, ctx: Context) -> None:
        if isinstance(update, OrderFilled) and update.side > 0:
            ctx.sell(AAPL, update.lots, stop=90)

    session = run_session(
        make_timeline(FIVE),
        at_rows({0: lambda ctx: ctx.buy(AAPL, 10)}, on_order_update=on_order_update),
    )
    fill = of(session, OrderFilled)[0]
    protection = of(session, OrderIntent)[1]
    assert protection.causation_id == fill.seq
    assert protection.correlation_id == fill.correlation_id


def test_pipeline_intent_of_a_timer_is_caused_by_the_timer() -> None:
    session = run_session(
        make_timeline(FIVE),
        at_rows({0: lambda ctx: ctx.set_timer("go", closes(0) + SECOND)},
                on_timer=lambda name, ctx: ctx.buy(AAPL, 1)),
    )  # fmt: skip
    (fired,) = of(session, TimerFired)
    (intent,) = of(session, OrderIntent)
    assert intent.causation_id == fired.seq


def test_pipeline_fill_is_told_before_the_bar_that_made_it() -> None:
    """What the strategy sees then: the old mark, the new time, the new position."""
    seen: list[Any] = []

    def on_bar(bar: Bar, ctx: Context) -> None:
        seen.append(("bar", bar.close, ctx.position(AAPL), ctx.mark(AAPL)))
        if bar.close == 100:
            ctx.buy(AAPL, 10)

    def on_order_update(update: OrderEvent, ctx: Context) -> None:
        told = (type(update).__name__, ctx.now, ctx.position(AAPL), ctx.mark(AAPL))
        seen.append((*told, ctx.history(AAPL, 9).tolist()))

    run_session(
        make_timeline(flat(100, 101, 102)), scripted(on_bar=on_bar, on_order_update=on_order_update)
    )
    assert seen == [
        ("bar", 100, 0, 100),
        ("OrderAccepted", closes(0), 0, 100, [100]),
        ("OrderFilled", closes(1), 10, 100, [100]),
        ("bar", 101, 10, 101),
        ("bar", 102, 10, 102),
    ]


def test_bar_leads_to_no_later_bar() -> None:
    """What a strategy can read of a bar without an underscore are the values of that bar."""
    seen: dict[str, object] = {}

    def on_bar(bar: Bar, ctx: Context) -> None:
        names = [name for name in dir(bar) if not name.startswith("_")]
        seen.update({name: getattr(bar, name) for name in names})

    run_session(make_timeline(FIVE), scripted(on_bar=on_bar))
    assert {
        name: type(value).__name__
        for name, value in seen.items()
        if not isinstance(value, int | float | str) and not callable(value)
    } == {}


def test_pipeline_context_knows_time_and_money_in_every_path() -> None:
    seen: list[tuple[int, float, float, float]] = []

    def on_bar(bar: Bar, ctx: Context) -> None:
        seen.append((ctx.now, ctx.cash, ctx.equity, ctx.mark(AAPL)))
        if len(seen) == 2:
            ctx.buy(AAPL, 10)

    run_session(make_timeline(flat(100, 101, 102, 104)), scripted(on_bar=on_bar), capital=10_000)
    assert seen == [
        (closes(0), 10_000, 10_000, 100), (closes(1), 10_000, 10_000, 101),
        (closes(2), 8_980, 10_000, 102), (closes(3), 8_980, 10_020, 104),
    ]  # fmt: skip


# Signals, generate_orders.


def test_pipeline_signal_is_on_the_tape_and_decides_nothing() -> None:
    session = run_session(
        make_timeline(FIVE),
        at_rows(
            {1: lambda ctx: ctx.signal("score", 0.5)}, on_stop=lambda ctx: ctx.signal("end", 1.0)
        ),
    )
    assert [told(each) for each in of(session, SignalRecorded)] == [
        (4, "signal", 3, 3), (8, "signal", 7, 7),
    ]  # fmt: skip
    assert of(session, OrderIntent) == []


def test_pipeline_orders_of_on_stop_are_not_sent() -> None:
    session = run_session(make_timeline(FIVE), scripted(on_stop=lambda ctx: ctx.buy(AAPL, 10)))
    assert of(session, OrderIntent, OrderSubmitted) == []


class Queues(Strategy):
    """Buys one at each bar by `ctx.buy`."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.signal("close", bar.close)
        ctx.buy(AAPL, 1, limit=99)


class Generates(Queues):
    """The same, handed over by `generate_orders`."""

    def generate_orders(self, ctx: Context) -> Sequence[Intent]:
        return list(ctx.take_intents())


def test_pipeline_generate_orders_that_hands_over_the_queue_changes_nothing() -> None:
    timeline = make_timeline(flat(100, 98, 100, 97, 100))
    queued = run_session(timeline, Queues())
    generated = run_session(timeline, Generates())
    assert generated.digest == queued.digest
    assert len(queued.fills) == 3


class SellsFirst(Queues):
    """Two orders a bar, handed over in another order than they were made."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.buy(AAPL, 1, limit=99)
        ctx.sell(AAPL, 1, limit=101)

    def generate_orders(self, ctx: Context) -> Sequence[Intent]:
        return sorted(ctx.take_intents(), key=lambda intent: getattr(intent, "side", 0))


def test_pipeline_generate_orders_may_change_the_order_of_intents() -> None:
    session = run_session(make_timeline(FIVE), SellsFirst())
    assert session.of_type(StrategyQuarantined) == []
    sides = [each.payload.side for each in of(session, OrderSubmitted)]  # type: ignore[union-attr]
    assert sides == [-1, 1] * 5


class WhileFlat(Strategy):
    """Asks for ten whenever it is flat; counts how often it is asked."""

    asked: int = state(0)

    def generate_orders(self, ctx: Context) -> Sequence[Intent]:
        self.asked += 1
        if ctx.position(AAPL) == 0:
            ctx.buy(AAPL, 10)
        return ctx.take_intents()


def test_pipeline_generate_orders_is_asked_at_events_of_the_market_only() -> None:
    """Asked again when its order is accepted, it would order the same again, and again."""
    strategy = WhileFlat()
    session = run_session(make_timeline(FIVE), strategy)
    assert session.of_type(StrategyQuarantined) == []
    assert strategy.asked <= len(FIVE) + 1  # the bars, and the start
    assert len(session.fills) == 1


class Counts(Strategy):
    """Counts how often it is asked for orders, and never has one."""

    asked: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Listens."""

    def generate_orders(self, ctx: Context) -> Sequence[Intent]:
        self.asked += 1
        return []


def test_pipeline_generate_orders_does_not_hear_what_others_do() -> None:
    """Otherwise a strategy decides otherwise when another runs beside it."""
    alone, beside = Counts(), Counts()
    run_session(make_timeline(FIVE), alone)
    run_session(make_timeline(FIVE), beside, at_rows({0: lambda ctx: ctx.buy(AAPL, 1)}))
    assert alone.asked == beside.asked


def test_pipeline_generate_orders_is_asked_when_a_timer_of_its_own_has_fired() -> None:
    """With daily bars the next event of the market may be a day away."""

    class AtNoon(WhileFlat):
        def on_start(self, ctx: Context) -> None:
            ctx.set_timer("noon", closes(1) + SECOND)

        def on_timer(self, name: str, ctx: Context) -> None:
            ctx.sell(AAPL, 4)

    session = run_session(make_timeline(FIVE), AtNoon())
    assert [told(each)[1] for each in of(session, TimerFired)] == ["timer.fired"]
    sold = of(session, OrderSubmitted)[1]
    assert sold.ts_event == closes(1) + SECOND


def test_pipeline_generate_orders_is_asked_at_events_of_its_own_instruments() -> None:
    strategy = Counts()
    run_session(sparse_two(), strategy, instruments=((MSFT,),))
    assert strategy.asked <= 2 + 1  # two bars of MSFT, and the start


# Timers.


def timer_story(*due: int, **how: Any) -> list[tuple[str, int, float]]:
    """(name, time, mark) of each call of a strategy that sets timers at its first bar."""
    calls: list[tuple[str, int, float]] = []

    def first(ctx: Context) -> None:
        for at, ts in enumerate(due):
            ctx.set_timer(f"t{at}", ts)

    strategy = at_rows(
        {0: first},
        on_timer=lambda name, ctx: calls.append((name, ctx.now, ctx.mark(AAPL))),
        on_order_update=lambda update, ctx: None,
    )
    run_session(make_timeline(flat(100, 101, 102, 103)), strategy, **how)
    return calls


def test_timer_between_bars_fires_at_its_time_with_what_is_known_then() -> None:
    assert timer_story(opens(2) + SECOND) == [("t0", opens(2) + SECOND, 101)]


def test_timer_at_the_time_of_a_bar_fires_after_it() -> None:
    assert timer_story(closes(1)) == [("t0", closes(1), 101)]


def test_timer_in_the_past_fires_next() -> None:
    assert timer_story(T0 - MINUTE) == [("t0", closes(0), 100)]


def test_timers_fire_in_time_order_and_then_in_the_order_of_setting() -> None:
    names = [name for name, _, _ in timer_story(closes(2), closes(1), closes(2), closes(1) + 1)]
    assert names == ["t1", "t3", "t0", "t2"]


def test_timer_after_the_end_of_data_does_not_fire() -> None:
    assert timer_story(closes(3)) == [("t0", closes(3), 103)]
    assert timer_story(closes(3) + 1) == []


def test_timer_fires_after_every_bar_of_its_time() -> None:
    """At one time: market, then timers. Two instruments close at once; both are known."""
    calls: list[tuple[float, float]] = []
    strategy = at_rows(
        {0: lambda ctx: ctx.set_timer("t", closes(1))},
        on_timer=lambda name, ctx: calls.append((ctx.mark(AAPL), ctx.mark(MSFT))),
    )
    run_session(make_timeline(flat(100, 101, 102), flat(50, 51, 52)), strategy)
    assert calls == [(101, 51)]


def test_timer_set_in_a_timer_goes_on() -> None:
    calls: list[int] = []

    def on_timer(name: str, ctx: Context) -> None:
        calls.append(ctx.now)
        ctx.set_timer("next", ctx.now + 30 * SECOND)

    start = scripted(
        on_start=lambda ctx: ctx.set_timer("next", T0 + 30 * SECOND), on_timer=on_timer
    )
    session = run_session(make_timeline(FIVE[:2]), start)
    assert calls == [T0 + each * 30 * SECOND for each in (1, 2, 3, 4)]
    assert [each.ts_event for each in of(session, TimerFired)] == calls


def test_timer_order_meets_the_market_at_its_time() -> None:
    """Set off inside bar 1, it arrives there and gets that bar's close."""
    session = run_session(
        make_timeline([(100.0,), (101.0, 109.0, 95.0, 105.0), (110.0,)]),
        at_rows({0: lambda ctx: ctx.set_timer("go", opens(1) + SECOND)},
                on_timer=lambda name, ctx: ctx.buy(AAPL, 1)),
    )  # fmt: skip
    assert [(fill.ticks, fill.ts_fill) for fill in session.fills] == [(10_500, closes(1))]


def test_report_and_timer_and_bar_of_one_time_come_in_that_order() -> None:
    """At one time: execution reports, market, timers."""
    heard: list[str] = []

    def on_bar(bar: Bar, ctx: Context) -> None:
        if ctx.now == closes(0):
            ctx.buy(AAPL, 1, limit=90)
            ctx.set_timer("t", closes(1))
        elif ctx.now == closes(1):
            heard.append("bar")

    strategy = scripted(
        on_bar=on_bar,
        on_timer=lambda name, ctx: heard.append("timer"),
        on_order_update=lambda update, ctx: heard.append(type(update).__name__),
    )
    run_session(make_timeline(FIVE), strategy, latency=LatencyModel(mean_ms=60_000))
    assert heard == ["OrderAccepted", "bar", "timer"]


# Several instruments, several strategies.


def sparse_two() -> Timeline:
    """AAPL at minutes 0 1 2 3, MSFT at 1 3."""
    other = make_columns(flat(50, 60), start=T0 + MINUTE, step=2 * MINUTE, length=MINUTE)
    return make_timeline(flat(10, 11, 12, 13), (OTHER, other))


def test_slice_holds_the_bars_of_one_time_in_the_order_of_the_timeline() -> None:
    slices: list[tuple[int, list[tuple[str, float]]]] = []

    def on_slice(slice_: TimeSlice, ctx: Context) -> None:
        slices.append((slice_.ts_known, [(bar.instrument, bar.close) for bar in slice_.bars]))
        assert ctx.now == slice_.ts_known

    run_session(sparse_two(), scripted(on_slice=on_slice))
    assert slices == [
        (closes(0), [(AAPL, 10)]), (closes(1), [(AAPL, 11), (MSFT, 50)]),
        (closes(2), [(AAPL, 12)]), (closes(3), [(AAPL, 13), (MSFT, 60)]),
    ]  # fmt: skip


def test_slice_comes_after_every_bar_of_its_time() -> None:
    heard: list[str] = []
    strategy = scripted(
        on_bar=lambda bar, ctx: heard.append(bar.instrument[0]),
        on_slice=lambda slice_, ctx: heard.append(str(len(slice_.bars))),
    )
    run_session(sparse_two(), strategy)
    assert "".join(heard) == "A1AM2A1AM2"


@pytest.mark.parametrize(
    ("wanted", "bars", "slices"),
    [((AAPL,), "AAAA", "1111"), ((MSFT,), "MM", "11"), (None, "AAMAAM", "1212")],
)
def test_subscription_hides_the_bars_of_other_instruments(
    wanted: tuple[InstrumentId, ...] | None, bars: str, slices: str
) -> None:
    heard: dict[str, str] = {"bar": "", "slice": ""}

    def on_bar(bar: Bar, ctx: Context) -> None:
        heard["bar"] += bar.instrument[0]

    def on_slice(slice_: TimeSlice, ctx: Context) -> None:
        heard["slice"] += str(len(slice_.bars))

    session = run_session(
        sparse_two(), scripted(on_bar=on_bar, on_slice=on_slice), instruments=(wanted,)
    )
    assert session.of_type(StrategyQuarantined) == []
    assert (heard["bar"], heard["slice"]) == (bars, slices)


class Averages(Strategy):
    """Remembers the features that it was shown."""

    shown: str = state("")

    def features(self) -> dict[str, Any]:
        return {"average": Sma(2)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        here, there = ctx.features, ctx.features_of(MSFT)
        other = "-" if there is None else f"{there.average:g}"
        self.shown += f"{bar.instrument[0]} {here.average:g} {other}; "


def test_features_are_those_of_the_bar_and_of_its_instrument() -> None:
    strategy = Averages()
    run_session(sparse_two(), strategy)
    assert strategy.shown == (
        "A nan -; A 10.5 -; M nan nan; A 11.5 nan; A 12.5 nan; M 55 55; "
    )  # fmt: skip


def test_order_for_an_instrument_waits_for_its_own_bars() -> None:
    session = run_session(sparse_two(), at_rows({1: lambda ctx: ctx.buy(AAPL, 1)}, instrument=AAPL),
                          at_rows({0: lambda ctx: ctx.buy(MSFT, 1)}, instrument=MSFT))  # fmt: skip
    assert [(f.instrument, f.ticks, f.ts_fill) for f in session.fills] == [
        (AAPL, 1_200, opens(2)), (MSFT, 6_000, opens(3)),
    ]  # fmt: skip


@pytest.mark.parametrize("beside", [False, True])
def test_cancel_meets_the_open_of_its_own_instrument_first(beside: bool) -> None:
    """MSFT in bars of ten minutes; the cancel arrives a second after its bar has opened at 80.

    Bars of AAPL in the middle of it must not let the cancel overtake that open.
    """
    ten = 10 * MINUTE
    long = (OTHER, make_columns(flat(100, 100, 80), step=ten))
    short = make_columns(flat(10, 10), start=T0 + 2 * ten + 5 * MINUTE)
    if beside:
        timeline = make_timeline((EQUITY, short), long)
    else:
        timeline = make_timeline(long)
    strategy = at_rows(
        {0: lambda ctx: ctx.buy(MSFT, 1, limit=90),
         1: lambda ctx: ctx.cancel(ctx.open_orders()[0].client_order_id)}, instrument=MSFT,
    )  # fmt: skip
    session = run_session(timeline, strategy, latency=LatencyModel(mean_ms=1_000))
    assert [fill.ticks for fill in session.fills] == [8_000]


def test_strategies_on_one_instrument_keep_separate_books() -> None:
    rows = flat(100, 100, 110, 110)
    session = run_session(
        make_timeline(rows),
        at_rows({0: lambda ctx: ctx.buy(AAPL, 10)}),
        at_rows({0: lambda ctx: ctx.sell(AAPL, 4)}),
        capital=10_000,
    )
    assert [session.ledger(name).positions[AAPL].lots for name in ("s0", "s1")] == [10, -4]
    assert [session.equity(name) for name in ("s0", "s1")] == [10_100 * E8, 9_960 * E8]


def test_strategies_see_only_their_own_orders_and_updates() -> None:
    heard: list[object] = []
    open_counts: list[int] = []
    session = run_session(
        make_timeline(FIVE),
        at_rows(
            {0: lambda ctx: ctx.buy(AAPL, 1, limit=90)},
            on_order_update=lambda update, ctx: heard.append(update),
        ),
        at_rows({
            0: lambda ctx: ctx.buy(AAPL, 2, limit=91),
            2: lambda ctx: open_counts.append(len(ctx.open_orders())),
        }),
    )  # fmt: skip
    assert open_counts == [1]
    assert heard == [of(session, OrderAccepted)[0].payload]


# The kill switch.


def test_kill_switch_lets_only_reducing_orders_through() -> None:
    def control(session: BacktestSession, ts: int) -> None:
        if ts in (closes(2), closes(5)):
            command = KillSwitchSet(active=ts == closes(2), reason="test")
            session.pipeline.control(command, ts)

    strategy = at_rows({
        0: lambda ctx: ctx.buy(AAPL, 10),
        3: lambda ctx: (ctx.buy(AAPL, 1), ctx.sell(AAPL, 11), ctx.sell(AAPL, 4)),
        6: lambda ctx: ctx.buy(AAPL, 1),
    })  # fmt: skip
    session = run_paced(make_timeline(flat(*[100] * 9)), strategy, on_slice_end=control)
    assert [each.code for each in session.denied] == [DenialCode.KILL_SWITCH] * 2
    assert [fill.lots * fill.side for fill in session.fills] == [10, -4, 1]


# A failure stays where it happens.


def fail(*args: Any) -> Any:
    raise ValueError("out of luck")


def fail_once_it_has_traded(ctx: Context) -> list[Intent]:
    if ctx.position(AAPL) == 10 and ctx.now >= closes(3):
        raise ValueError("out of luck")
    return list(ctx.take_intents())


def busy() -> Strategy:
    """A neighbor that trades in every bar."""
    return scripted(on_bar=lambda bar, ctx: ctx.target(AAPL, 0 if ctx.position(AAPL) else 5))


def at_first(first: Callable[[Context], object], **callbacks: Unpack[Callbacks]) -> Strategy:
    return at_rows({0: first}, **callbacks)


FAILING: dict[str, Callable[[], Strategy]] = {
    "on_start": lambda: scripted(on_start=fail, on_bar=nothing),
    "on_bar": lambda: at_rows({2: fail}),
    "on_slice": lambda: scripted(on_slice=fail),
    "on_order_update": lambda: at_first(lambda ctx: ctx.buy(AAPL, 1), on_order_update=fail),
    "on_timer": lambda: at_first(lambda ctx: ctx.set_timer("t", closes(1) + SECOND), on_timer=fail),
    "generate_orders": lambda: scripted(on_bar=nothing, generate_orders=fail),
    "on_stop": lambda: scripted(on_bar=nothing, on_stop=fail),
}


@pytest.mark.parametrize("callback", FAILING)
@pytest.mark.parametrize("alone", [True, False])
def test_quarantine_takes_out_one_strategy_and_the_session_completes(
    callback: str, alone: bool
) -> None:
    others = [] if alone else [busy()]
    session = run_session(make_timeline(flat(*[100] * 8)), FAILING[callback](), *others)
    (event,) = session.of_type(StrategyQuarantined)
    assert (event.strategy, event.callback) == ("s0", callback)
    assert event.error == "ValueError: out of luck"
    assert isinstance(session.events[-1].payload, SessionStopped)
    assert [each.strategy for each in session.session.pipeline.quarantined] == ["s0"]


@pytest.mark.parametrize("callback", FAILING)
def test_quarantine_leaves_the_neighbor_untouched(callback: str) -> None:
    timeline = make_timeline(flat(*range(100, 112)))
    with_failure = run_session(timeline, FAILING[callback](), busy())
    without = run_session(timeline, scripted(on_bar=nothing), busy())

    def story(session: SessionRun) -> list[tuple[int, int, int, int]]:
        return [(f.lots * f.side, f.ticks, f.ts_fill, f.fee) for f in session.fills
                if f.strategy == "s1"]  # fmt: skip

    assert story(with_failure) == story(without)
    assert len(story(without)) == 11


def test_quarantine_looks_at_no_order_of_an_instrument_that_only_others_trade() -> None:
    timeline = make_timeline(flat(*[100] * 6), flat(*[50] * 6))
    resting = at_rows({0: lambda ctx: ctx.buy(AAPL, 1, limit=90)})
    failing = at_rows({2: fail}, instrument=MSFT)
    session = run_session(timeline, failing, resting, instruments=[(MSFT,), (AAPL,)])
    assert [each.strategy for each in session.quarantined] == ["s0"]
    assert len(session.of_type(OrderAccepted)) == 1
    assert session.of_type(OrderCanceled) == []


def test_quarantine_names_the_line_of_the_strategy() -> None:
    session = run_session(make_timeline(FIVE), FAILING["on_bar"]())
    (event,) = session.of_type(StrategyQuarantined)
    assert event.where.startswith(("timelines.py:", "test_pipeline.py:"))


def test_quarantined_strategy_is_never_called_again() -> None:
    calls: list[str] = []

    def on_bar(bar: Bar, ctx: Context) -> None:
        calls.append("bar")
        ctx.set_timer("t", closes(2) + SECOND)
        ctx.buy(AAPL, 1, limit=101)
        if len(calls) == 3:
            raise ValueError("out of luck")

    def record(name: str) -> Callable[..., None]:
        return lambda *args: calls.append(name)

    run_session(
        make_timeline(FIVE),
        scripted(on_bar=on_bar, on_slice=record("slice"), on_order_update=record("update"),
                 on_timer=record("timer"), on_stop=record("stop")),
        latency=LatencyModel(mean_ms=90_000),
    )  # fmt: skip
    assert calls == ["bar", "slice", "bar"]


def test_quarantine_drops_what_the_failing_callback_had_asked_for() -> None:
    def on_bar(bar: Bar, ctx: Context) -> None:
        ctx.buy(AAPL, 1)
        raise ValueError("out of luck")

    session = run_session(make_timeline(FIVE), scripted(on_bar=on_bar))
    assert of(session, OrderIntent) == []


def test_quarantine_in_the_answer_to_a_denial_drops_the_intents_behind_it() -> None:
    """The first order is denied, the strategy raises at that; the second must not go out."""
    strategy = at_rows(
        {0: lambda ctx: (ctx.buy(AAPL, 1_000_000), ctx.buy(AAPL, 1))}, on_order_update=fail
    )
    session = run_session(make_timeline(FIVE), strategy)
    assert len(session.of_type(StrategyQuarantined)) == 1
    assert session.fills == []
    assert of(session, OrderSubmitted) == []


def test_quarantine_while_the_bar_runs_cancels_what_the_bar_has_not_met() -> None:
    """It raises at its first fill: the second order fills in that bar, the third is canceled."""

    def first(ctx: Context) -> None:
        for limit in (100.5, 99.5, 90.0):
            ctx.buy(AAPL, 10, limit=limit)

    def on_order_update(update: OrderEvent, ctx: Context) -> None:
        if isinstance(update, OrderFilled):
            fail()

    session = run_session(
        make_timeline([(100.0,), (100.0, 101.0, 99.0, 100.0), (80.0,)]),
        at_rows({0: first}, on_order_update=on_order_update),
    )
    assert [fill.ticks for fill in session.fills] == [10_000, 9_950]
    assert len(of(session, OrderCanceled)) == 1


def test_quarantine_in_on_stop_sends_no_command() -> None:
    """The session is over: what stands on the tape as sent must have been sent."""
    session = run_session(
        make_timeline(FIVE), at_rows({0: lambda ctx: ctx.buy(AAPL, 1, limit=50)}, on_stop=fail)
    )
    assert len(session.of_type(StrategyQuarantined)) == 1
    assert of(session, OrderCancelPending) == []


def test_strategy_that_returns_no_intents_from_generate_orders_is_quarantined() -> None:
    for wrong in (None, 5, ["buy"], [None]):
        session = run_session(
            make_timeline(FIVE), scripted(generate_orders=lambda ctx, wrong=wrong: wrong), busy()
        )
        assert [each.strategy for each in session.of_type(StrategyQuarantined)] == ["s0"]
        assert len([f for f in session.fills if f.strategy == "s1"]) == 4


# A strategy without end.


def ping_pong() -> Strategy:
    """Answers every update with a new order."""
    return at_first(
        lambda ctx: ctx.buy(AAPL, 1, limit=50),
        on_order_update=lambda update, ctx: ctx.buy(AAPL, 1, limit=50),
    )


def denied_for_ever() -> Strategy:
    return at_first(
        lambda ctx: ctx.buy(AAPL, 1_000_000),
        on_order_update=lambda update, ctx: ctx.buy(AAPL, 1_000_000),
    )


def timer_for_ever() -> Strategy:
    return at_first(
        lambda ctx: ctx.set_timer("t", 0), on_timer=lambda name, ctx: ctx.set_timer("t", 0)
    )


ENDLESS = {"orders": ping_pong, "denials": denied_for_ever, "timers": timer_for_ever}


@pytest.mark.parametrize("endless", ENDLESS.values(), ids=ENDLESS.keys())
def test_endless_strategy_is_stopped_and_its_neighbor_goes_on(
    endless: Callable[[], Strategy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onetape.runtime.pipeline.STEPS_WITHOUT_TIME_MAX", 50)
    assert STEPS_WITHOUT_TIME_MAX > 50
    limits = RiskLimits(max_order_quantity=10, max_leverage=4)
    session = run_session(make_timeline(FIVE), endless(), busy(), limits=limits)
    assert [each.strategy for each in session.of_type(StrategyQuarantined)] == ["s0"]
    assert isinstance(session.events[-1].payload, SessionStopped)
    assert len([f for f in session.fills if f.strategy == "s1"]) == 4


def test_endless_denials_are_stopped_by_their_count_and_not_by_the_stack() -> None:
    """Ten thousand denials answered by an order each, as they come in a real session."""
    session = run_session(
        make_timeline(FIVE), denied_for_ever(), limits=RiskLimits(max_order_quantity=10)
    )
    (event,) = session.of_type(StrategyQuarantined)
    assert event.error.startswith("decided 10000 times")


def test_endless_strategy_is_stopped_only_by_standing_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Hundreds of updates at different times are a busy strategy, not an endless one."""
    monkeypatch.setattr("onetape.runtime.pipeline.STEPS_WITHOUT_TIME_MAX", 50)

    def on_order_update(update: OrderEvent, ctx: Context) -> None:
        ctx.buy(AAPL, 1, limit=50)

    session = run_session(
        make_timeline(FIVE),
        at_first(lambda ctx: ctx.buy(AAPL, 1, limit=50), on_order_update=on_order_update),
        latency=LatencyModel(mean_ms=1_000),
    )
    assert session.of_type(StrategyQuarantined) == []
    assert len(of(session, OrderAccepted)) == 4 * 60  # one a second


def test_header_stands_first_and_footer_last() -> None:
    session = run_session(make_timeline(FIVE), busy())
    assert isinstance(session.events[0].payload, SessionStarted)
    assert [type(each.payload) for each in session.events].count(SessionStopped) == 1
    assert of(session, OrderDenied) == []
