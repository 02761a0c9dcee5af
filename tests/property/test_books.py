"""Random strategies in random worlds: what must hold on every tape, read back from the tape alone.

A world is a seed (`tests/support/random_strategies.py`); a failure prints it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import (
    CapitalDeposited,
    Event,
    OrderAccepted,
    OrderApproved,
    OrderCanceled,
    OrderCancelPending,
    OrderExpired,
    OrderFilled,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    OrderReplacePending,
    OrderSubmitted,
    OrderTriggered,
    PositionChanged,
    SessionStopped,
    StrategyQuarantined,
)
from onetape.domain.instrument import Instrument
from onetape.domain.market import BAR_FLOAT_COLUMNS, TRADE_FLOAT_COLUMNS
from onetape.domain.numbers import compute_ticks
from onetape.domain.orders import OrderType, TimeInForce
from onetape.execution.simulated.bar_matching import compute_bar_capacity_lots
from onetape.execution.simulated.latency import compute_latency_ns
from onetape.execution.simulated.slippage import compute_slipped_ticks
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.timeline import build_timeline
from onetape.marketdata.trades import TRADE_COLUMNS
from tests.support.random_strategies import RandomBars, World, make_world
from tests.support.session_runs import SessionRun

WORLDS = settings(max_examples=120, deadline=None)
KINDS = pytest.mark.parametrize("trades", [False, True], ids=["bars", "trades"])

COMMANDS = (OrderSubmitted, OrderCancelPending, OrderReplacePending)
CLOSING = (OrderCanceled, OrderExpired, OrderRejected)


@dataclass
class Life:
    """One order, as the tape tells it. Arrivals are computed from the commands and the latency."""

    command: OrderSubmitted
    arrival: int
    limit_ticks: int
    lots: int
    filled: int = 0
    closed: bool = False
    triggered: bool = False


@dataclass
class Tape:
    """A run, read from its tape."""

    world: World
    session: SessionRun
    rows: dict[int, int] = field(default_factory=dict)
    """Row of the pinned bar that has this seq."""

    def __post_init__(self) -> None:
        taken = {each.seq for each in self.session.events}
        free = (seq for seq in range(max(taken) + 1) if seq not in taken)
        self.rows = {seq: row for row, seq in enumerate(free)}

    @property
    def events(self) -> list[Event]:
        return self.session.events

    def instrument(self, name: str) -> Instrument:
        return next(each for each in self.world.timeline.instruments if each.id == name)

    def bar(self, row: int) -> dict[str, Any]:
        return {name: column[row].item() for name, column in self.world.timeline.columns.items()}

    def commands(self) -> dict[int, int]:
        """When each command (by its seq) reaches the venue: its latency, never before the last."""
        arrivals: dict[int, int] = {}
        last = 0
        commands = [each for each in self.events if isinstance(each.payload, COMMANDS)]
        number = 0
        for each in commands:
            if not parent_of(each.payload):  # a child is one message with its parent
                number += 1
                delay = compute_latency_ns(self.world.terms.latency, number)
                last = max(last, each.ts_event + delay)
            arrivals[each.seq] = last
        return arrivals


def parent_of(event: object) -> str:
    """The order that a new order waits for; empty for none."""
    terms = event.conditions if isinstance(event, OrderSubmitted) else None
    return terms.parent if terms is not None else ""


def run(seed: int, rows: int, trades: bool = False, **params: Any) -> Tape:
    world = make_world(seed, rows, trades=trades)
    session = world.run(RandomBars(seed=seed, **params))
    assert session.of_type(StrategyQuarantined) == []
    return Tape(world, session)


seeds = st.integers(0, 2**32)
lengths = st.integers(1, 40)


@KINDS
@WORLDS
@given(seeds, lengths)
def test_books_are_exact(trades: bool, seed: int, rows: int) -> None:
    """Cash, positions and PnL folded from the fills in fractions equal what the ledger says."""
    tape = run(seed, rows, trades)
    cash = Fraction(0)
    capital = fees = realized = Fraction(0)
    lots: dict[str, int] = {}
    for each in tape.events:
        match each.payload:
            case CapitalDeposited(amount=amount):
                cash = capital = Fraction(amount)
            case OrderFilled() as fill:
                factor = tape.instrument(fill.instrument).minor_per_tick_lot
                assert fill.notional == fill.lots * fill.ticks * factor
                cash -= fill.notional * fill.side + fill.fee
                fees += fill.fee
                lots[fill.instrument] = lots.get(fill.instrument, 0) + fill.lots * fill.side
            case PositionChanged() as change:
                realized += change.realized
                assert (change.cash, change.lots) == (cash, lots[change.instrument])
                assert change.lots or not change.cost
            case _:
                pass
    ledger = tape.session.ledger()
    ledger.check()
    worth = unrealized = 0
    market = tape.world.timeline
    for name, position in ledger.positions.items():
        assert position.lots == lots.get(name, 0)
        if position.lots:
            close = float(market.columns["close"][market.rows_of(name)[-1]])
            mark = compute_ticks(close, tape.instrument(name).tick_float, 0)
            worth += position.lots * mark * position.factor
            unrealized += position.lots * mark * position.factor - position.cost
    assert (ledger.cash, ledger.fees, ledger.realized) == (cash, fees, realized)
    equity = tape.session.equity()
    assert equity == ledger.cash + worth
    assert ledger.realized + unrealized - ledger.fees == equity - capital


@KINDS
@WORLDS
@given(seeds, lengths)
def test_numbers_on_the_tape_rise_and_pin_every_row(trades: bool, seed: int, rows: int) -> None:
    tape = run(seed, rows, trades)
    seqs = [each.seq for each in tape.events]
    assert seqs == sorted(set(seqs))
    assert len(tape.rows) == len(tape.world.timeline)
    times = [each.ts_event for each in tape.events]
    assert times == sorted(times)
    known = tape.world.timeline.columns["ts_known"]
    by_seq = {each.seq: each for each in tape.events}
    for each in tape.events:
        assert each.causation_id < each.seq or each.seq == 0
        assert each.correlation_id <= each.causation_id or each.causation_id == 0
        cause = each.causation_id
        if cause in tape.rows:  # caused by a pinned bar: never before it was known
            assert known[tape.rows[cause]] <= each.ts_event
        elif cause:
            assert by_seq[cause].ts_event <= each.ts_event


@KINDS
@WORLDS
@given(seeds, lengths)
def test_orders_live_as_the_table_says(trades: bool, seed: int, rows: int) -> None:
    """Approved, then sent, then accepted; filled lots never exceed; nothing after the end."""
    tape = run(seed, rows, trades)
    approved: dict[str, OrderApproved] = {}
    lives: dict[str, Life] = {}
    for each in tape.events:
        event = each.payload
        name = getattr(event, "client_order_id", "")
        life = lives.get(name)
        match event:
            case OrderApproved():
                approved[name] = event
            case OrderSubmitted():
                assert life is None
                said = approved[name]
                assert (said.side, said.strategy) == (event.side, event.strategy)
                assert event.lots in (said.lots, 0)
                assert bool(event.lots) != bool(event.budget)
                lives[name] = Life(event, 0, event.limit_ticks, event.lots)
            case OrderCancelPending() | OrderReplacePending() | OrderAccepted() | OrderTriggered():
                assert life is not None
                assert not life.closed
            case OrderReplaced(lots=lots) | OrderReduced(lots=lots):
                assert life is not None
                assert not life.closed
                assert lots > life.filled
                assert lots < life.lots or isinstance(event, OrderReplaced)
                life.lots = lots
            case OrderFilled():
                assert life is not None
                assert not life.closed
                life.filled += event.lots
                life.lots = life.lots or life.filled + event.leaves
                assert life.filled + event.leaves == life.lots
                life.closed = event.leaves == 0
            case _ if isinstance(event, CLOSING):
                assert life is not None
                assert not life.closed
                life.closed = True
            case _:
                pass
        assert life is None or life.filled <= life.lots or not life.lots


def follow_fills(tape: Tape) -> list[tuple[Life, OrderFilled, int, dict[str, Any]]]:
    """(order as it stood, fill, row, bar) of each fill; also checks when commands arrive."""
    arrivals = tape.commands()
    lives: dict[str, Life] = {}
    changes: dict[str, int] = {}
    fills: list[tuple[Life, OrderFilled, int, dict[str, Any]]] = []
    for each in tape.events:
        event = each.payload
        name = getattr(event, "client_order_id", "")
        match event:
            case OrderSubmitted():
                lives[name] = Life(event, arrivals[each.seq], event.limit_ticks, event.lots)
            case OrderReplacePending():
                changes[name] = arrivals[each.seq]
            case OrderAccepted():
                assert each.ts_event == lives[name].arrival
            case OrderTriggered():
                lives[name].triggered = True
            case OrderReplaced():
                assert each.ts_event >= changes[name]
                lives[name].arrival = changes[name]
                lives[name].limit_ticks = event.limit_ticks
            case OrderFilled():
                row = tape.rows[each.causation_id]
                fills.append((lives[name], event, row, tape.bar(row)))
                life = lives[name]
                lives[name] = replace(life, filled=life.filled + event.lots)
            case _:
                pass
    return fills


@KINDS
@WORLDS
@given(seeds, lengths)
def test_no_order_fills_before_its_arrival_or_from_what_came_before_it(
    trades: bool, seed: int, rows: int
) -> None:
    tape = run(seed, rows, trades)
    timeline = tape.world.timeline
    for life, fill, row, bar in follow_fills(tape):
        instrument = timeline.instruments[timeline.instrument_index[row]]
        assert instrument.id == fill.instrument
        assert life.arrival < bar["ts_close"]
        assert life.arrival <= fill.ts_fill <= bar["ts_close"] <= bar["ts_known"]
        assert fill.ts_fill in (bar["ts_close"] if trades else bar["ts_open"], bar["ts_close"])
        if life.arrival > bar["ts_open"]:  # inside the bar: nothing but its close
            assert fill.ts_fill == bar["ts_close"]
            if not has_slipped(tape, life):
                against = compute_ticks(bar["close"], instrument.tick_float, fill.side)
                assert fill.ticks == against
        expire = life.command.ts_expire
        assert not expire or fill.ts_fill < expire + trades


def has_slipped(tape: Tape, life: Life) -> bool:
    """Whether slippage applies to the order: it is no limit order at the fill."""
    kind = life.command.order_type
    return (
        kind.triggered is OrderType.MARKET
        and tape.world.terms.slippage != type(tape.world.terms.slippage)()
    )


@KINDS
@WORLDS
@given(seeds, lengths)
def test_no_fill_lies_outside_its_bar_beyond_slippage_and_a_tick(
    trades: bool, seed: int, rows: int
) -> None:
    """And a limit order never fills worse than its limit, a stop never better than its stop."""
    tape = run(seed, rows, trades)
    for life, fill, _, bar in follow_fills(tape):
        instrument = tape.instrument(fill.instrument)
        size, side = instrument.tick_float, int(fill.side)
        quantity = fill.lots * instrument.lot_float
        kind = life.command.order_type
        best, worst = (bar["low"], bar["high"]) if side > 0 else (bar["high"], bar["low"])
        at_best = compute_ticks(best, size, side)
        at_worst = compute_ticks(worst, size, side)
        if has_slipped(tape, life):
            slippage = tape.world.terms.slippage
            at_best = compute_slipped_ticks(slippage, at_best, side, quantity, bar["volume"])
            at_worst = compute_slipped_ticks(slippage, at_worst, side, quantity, bar["volume"])
        assert (fill.ticks - at_best) * side >= -1
        assert (fill.ticks - at_worst) * side <= 1
        if kind.has_limit:
            assert (fill.ticks - life.limit_ticks) * side <= 0
        if kind.has_trigger and not life.filled:
            assert life.triggered


@KINDS
@WORLDS
@given(seeds, lengths)
def test_fills_of_a_bar_never_exceed_their_share_of_its_volume(
    trades: bool, seed: int, rows: int
) -> None:
    tape = run(seed, rows, trades)
    ratio = tape.world.terms.max_volume_ratio
    if ratio is None:
        return
    taken: dict[int, int] = {}
    for _, fill, row, _ in follow_fills(tape):
        taken[row] = taken.get(row, 0) + fill.lots
    timeline = tape.world.timeline
    for row, lots in taken.items():
        instrument = timeline.instruments[timeline.instrument_index[row]]
        volume = float(timeline.columns["volume"][row])
        assert lots <= compute_bar_capacity_lots(volume, instrument.lot_float, ratio)


@KINDS
@WORLDS
@given(seeds, lengths)
def test_immediate_and_day_orders_meet_one_bar_and_one_session(
    trades: bool, seed: int, rows: int
) -> None:
    tape = run(seed, rows, trades)
    first: dict[str, dict[str, Any]] = {}
    for life, fill, _, bar in follow_fills(tape):
        name = fill.client_order_id
        met = first.setdefault(name, bar)
        match life.command.time_in_force:
            case TimeInForce.IOC | TimeInForce.FOK:
                assert met == bar
                at_open = life.arrival <= bar["ts_open"]
                assert at_open or not trades
                assert fill.ts_fill == bar["ts_open" if at_open and not trades else "ts_close"]
            case TimeInForce.DAY:
                assert bar["session_close"] == met["session_close"]
            case _:
                pass
        if life.command.time_in_force is TimeInForce.FOK:
            assert fill.leaves == 0


@KINDS
@WORLDS
@given(seeds, lengths)
def test_reduce_only_fills_never_open_or_turn_a_position(
    trades: bool, seed: int, rows: int
) -> None:
    tape = run(seed, rows, trades)
    lots: dict[str, int] = {}
    reducing: set[str] = set()
    for each in tape.events:
        match each.payload:
            case OrderSubmitted(reduce_only=True) as command:
                reducing.add(command.client_order_id)
            case OrderFilled() as fill:
                before = lots.get(fill.instrument, 0)
                after = lots[fill.instrument] = before + fill.lots * fill.side
                if fill.client_order_id in reducing:
                    assert abs(after) < abs(before)
                    assert before * after >= 0
            case _:
                pass


@KINDS
@WORLDS
@given(seeds, lengths)
def test_position_limits_hold_at_every_fill(trades: bool, seed: int, rows: int) -> None:
    """Limits in lots do not depend on prices, so they hold after the fill as they did before it.

    An order sized at its fill is checked at an estimate, so none is sent here.
    """
    tape = run(seed, rows, trades, sized_at_fill=False)
    limits = tape.world.limits
    for change in tape.session.of_type(PositionChanged):
        if limits.max_position_quantity is not None:
            held = tape.instrument(change.instrument).lots_to_quantity(abs(change.lots))
            assert held <= Decimal(limits.max_position_quantity)
        assert limits.allow_short or change.lots >= 0


def perturb(world: World, ts: int, factor: float) -> World:
    """The same world up to `ts`; every price and volume known later is another one.

    With a factor of 0 there is nothing later.
    """
    old = world.timeline
    later = old.columns["ts_known"] > ts
    columns = {name: values.copy() for name, values in old.columns.items()}
    names = TRADE_FLOAT_COLUMNS if old.kind == "trades" else BAR_FLOAT_COLUMNS
    for name in names:
        columns[name][later] *= factor
    keep = ~later if factor == 0 else np.ones(len(old), dtype=np.bool_)
    series = [
        (each, {name: values[rows][keep[rows]] for name, values in columns.items()})
        for each in old.instruments
        for rows in [old.rows_of(each.id)]
    ]
    if old.kind == "trades":
        prints = [(one, {name: each[name] for name in TRADE_COLUMNS}) for one, each in series]
        return replace(world, timeline=build_trade_timeline(prints, source=old.source))
    timeline = build_timeline(series, source=old.source, timeframe=old.timeframe)
    return replace(world, timeline=timeline)


def check_nothing_depends_on_later(
    trades: bool, seed: int, rows: int, row: int, factor: float
) -> None:
    """Decisions, fills, books and every other event up to a row are the same, whatever follows."""
    tape = run(seed, rows, trades)
    columns = tape.world.timeline.columns
    known = columns["ts_known"]
    first = known[columns["ts_open"].argmin()]  # the session begins when this bar opens
    ts = int(max(first, known[row % len(known)]))
    other = perturb(tape.world, ts, factor).run(RandomBars(seed=seed))

    def story(session: SessionRun) -> list[Event]:
        return [
            each for each in session.events
            if each.ts_event <= ts and not isinstance(each.payload, SessionStopped)
        ]  # fmt: skip

    assert story(other) == story(tape.session)


@KINDS
@WORLDS
@given(seeds, lengths, st.integers(0, 200), st.sampled_from([0.5, 1.7]))
def test_nothing_up_to_a_moment_depends_on_prices_known_later(
    trades: bool, seed: int, rows: int, row: int, factor: float
) -> None:
    check_nothing_depends_on_later(trades, seed, rows, row, factor)


@KINDS
@WORLDS
@given(seeds, lengths, st.integers(0, 200))
def test_nothing_up_to_a_moment_depends_on_whether_there_are_bars_later(
    trades: bool, seed: int, rows: int, row: int
) -> None:
    check_nothing_depends_on_later(trades, seed, rows, row, 0)


@KINDS
@settings(max_examples=40, deadline=None)
@given(seeds, lengths)
def test_two_runs_have_the_same_digest(trades: bool, seed: int, rows: int) -> None:
    assert run(seed, rows, trades).session.digest == run(seed, rows, trades).session.digest


@KINDS
def test_worlds_reach_what_they_are_made_for(trades: bool) -> None:
    """A test over random worlds shows nothing where nothing happens."""
    kinds: dict[str, int] = {}
    for seed in range(80):
        for event in run(seed, 40, trades).events:
            kinds[event.type] = kinds.get(event.type, 0) + 1
    rare = [
        "order.partially_filled", "order.triggered", "order.expired", "order.canceled",
        "order.replaced", "order.replace_rejected", "order.cancel_rejected", "position.closed",
        "risk.denied", "timer.fired", "signal",
    ]  # fmt: skip
    assert {name: kinds.get(name, 0) for name in rare if kinds.get(name, 0) < 20} == {}


@KINDS
@pytest.mark.parametrize("seed", range(8))
def test_books_of_two_strategies_are_each_exact(trades: bool, seed: int) -> None:
    """The same strategy twice, on books of its own: both ledgers stand alone."""
    world = make_world(seed, 40, trades=trades)
    session = world.run(RandomBars(seed=seed), RandomBars(seed=seed + 1))
    for name in ("s0", "s1"):
        fills = [fill for fill in session.fills if fill.strategy == name]
        ledger = session.ledger(name)
        ledger.check()
        assert ledger.cash == ledger.capital - sum(f.notional * f.side + f.fee for f in fills)
