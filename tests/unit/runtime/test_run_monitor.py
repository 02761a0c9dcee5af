"""What is measured of a session, and that the session does not notice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import OrderEvent
from onetape.domain.market import Bar, BarBlock, TimeSlice
from onetape.domain.orders import OrderIntent
from onetape.risk.limits import RiskLimits
from onetape.runtime import run_monitor
from onetape.runtime.run_monitor import (
    Durations,
    RunMonitor,
    read_memory_mib,
    read_peak_memory_mib,
    save_measurements,
)
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state
from onetape.tape.store import MemoryTape
from tests.support.session_runs import make_terms
from tests.support.timelines import flat, make_timeline

ROWS = 40
US = 1_000


class Clock:
    """A clock that a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 10**15
        monkeypatch.setattr(run_monitor, "perf_counter_ns", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def open_session(strategy: Strategy, tape: MemoryTape | None = None) -> BacktestSession:
    timeline = make_timeline(flat(*range(100, 100 + ROWS)))
    spec = StrategySpec(name="s0", strategy=strategy, capital=10**13)
    return BacktestSession(
        timeline, [spec], make_terms(timeline), RiskLimits(), tape or MemoryTape(),
        SessionIdentity(),
    )  # fmt: skip


def advance(session: BacktestSession, step: int) -> None:
    """Run the whole session, `step` rows at a time."""
    session.start()
    for stop in range(step, ROWS + 1, step):
        session.advance(stop)
    session.finish()


# Durations.


def test_durations_of_nothing_are_unknown() -> None:
    durations = Durations()
    durations.add(np.array([], dtype=np.int64))
    assert math.isnan(durations.quantile_us(0.5))
    assert math.isnan(durations.max_us)


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_quantile_is_that_of_the_sorted_list_within_its_step(
    values: list[int], share: float
) -> None:
    """Naive twin: the smallest value that at least `share` of all do not exceed."""
    durations = Durations()
    half = len(values) // 2
    durations.add(np.array(values[:half], dtype=np.int64))
    durations.add(np.array(values[half:], dtype=np.int64))
    rank = next(n for n in range(1, len(values) + 1) if n >= share * len(values))
    true = max(sorted(values)[rank - 1], 1) / 1e3
    assert true / 1.03 <= max(durations.quantile_us(share), 1e-3) <= true * 1.03
    assert (durations.count, durations.total) == (len(values), sum(values))
    assert durations.max_us == max(values) / 1e3


# A session.


class Slow(Strategy):
    """Takes 30 us at each bar, 7 us at each update of its order, 5 us at each timer."""

    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        CLOCKS[-1].now += 30 * US
        self.bars += 1
        if self.bars == 10:
            ctx.buy(bar.instrument, 1)
            ctx.set_timer("soon", ctx.now + 1)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        CLOCKS[-1].now += 7 * US

    def on_timer(self, name: str, ctx: Context) -> None:
        CLOCKS[-1].now += 5 * US


CLOCKS: list[Clock] = []


@pytest.fixture
def slow(clock: Clock) -> Slow:
    CLOCKS.append(clock)
    return Slow()


def test_callbacks_and_events_take_what_their_clock_says(slow: Slow) -> None:
    session, monitor = open_session(slow), RunMonitor(sample_every=1)
    session.measure(monitor)
    advance(session, ROWS)
    measured = monitor.finish()
    assert measured is not None
    found = {each.callback: (each.calls, each.total_us, each.max_us) for each in measured.callbacks}
    assert found == {
        "on_bar": (ROWS, 30.0 * ROWS, 30.0),
        "on_order_update": (2, 14.0, 7.0),  # accepted, filled
        "on_timer": (1, 5.0, 5.0),
    }
    assert {each.strategy for each in measured.callbacks} == {"s0"}
    # The row after the order: the timer is due, the order fills, then comes the bar.
    assert measured.latency_p50_us == pytest.approx(30, rel=0.03)
    assert measured.latency_max_us == 5 + 7 + 30
    assert (measured.first_row, measured.rows, measured.sampled_rows) == (0, ROWS, ROWS)
    assert measured.strategy_ratio == 1.0
    assert measured.seconds == pytest.approx((30 * ROWS + 19) / 1e6)
    assert measured.rows_per_second == pytest.approx(ROWS / measured.seconds)


def test_last_event_of_a_block_lasts_until_its_end(slow: Slow) -> None:
    """In blocks of one row there is no next row to wait for."""
    session, monitor = open_session(slow), RunMonitor(1, 0)
    session.measure(monitor)
    advance(session, 1)
    measured = monitor.finish()
    assert measured is not None
    assert measured.latency_p50_us == pytest.approx(30, rel=0.03)
    assert measured.latency_max_us == 5 + 7 + 30


@pytest.mark.parametrize(
    ("every", "at_least", "sampled"),
    [
        (1, 0, 40),
        (2, 0, 20),
        (4, 0, 10),
        (10, 0, 4),
        (64, 0, 2),
        (64, 5, 6),
        (10, 3, 4),
        (2, 100, 40),
    ],
)
def test_one_row_in_so_many_is_sampled_in_blocks_of_two(
    slow: Slow, every: int, at_least: int, sampled: int
) -> None:
    session, monitor = open_session(slow), RunMonitor(every, at_least)
    session.measure(monitor)
    advance(session, 2)
    measured = monitor.finish()
    assert measured is not None
    assert (measured.rows, measured.sampled_rows) == (ROWS, sampled)
    assert {each.calls for each in measured.callbacks if each.callback == "on_bar"} == {sampled}


class Everything(Strategy):
    """Every callback that can be measured."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if ctx.position(bar.instrument) == 0:
            ctx.buy(bar.instrument, 1)
            ctx.set_timer("soon", ctx.now + 1)

    def on_slice(self, time_slice: TimeSlice, ctx: Context) -> None:
        ctx.signal("bars", len(time_slice.bars))

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        ctx.signal("update", 1.0)

    def on_timer(self, name: str, ctx: Context) -> None:
        ctx.sell(ctx.instruments[0], 1)

    def generate_orders(self, ctx: Context) -> list[OrderIntent]:
        return [each for each in ctx.take_intents() if isinstance(each, OrderIntent)]


class Raises(Everything):
    """Raises in the middle of a sampled block."""

    heard: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.heard += 1
        if self.heard == 15:
            raise ValueError("in the middle")
        super().on_bar(bar, ctx)


class Hears(Strategy):
    """`on_market_event` in the place of all others."""

    def on_market_event(self, event: object, ctx: Context) -> None:
        if isinstance(event, Bar) and ctx.position(event.instrument) == 0:
            ctx.buy(event.instrument, 1)


@pytest.mark.parametrize("kind", [Everything, Raises, Hears, Strategy])
@pytest.mark.parametrize("every", [1, 3])
def test_tape_of_a_measured_session_is_the_same(kind: type[Strategy], every: int) -> None:
    plain, measured = MemoryTape(), MemoryTape()
    advance(open_session(kind(), plain), 5)
    session, monitor = open_session(kind(), measured), RunMonitor(every, 0)
    session.measure(monitor)
    advance(session, 5)
    assert measured.digest == plain.digest
    assert monitor.finish() is not None


def test_every_callback_has_its_name() -> None:
    session, monitor = open_session(Everything()), RunMonitor(sample_every=1)
    session.measure(monitor)
    advance(session, ROWS)
    measured = monitor.finish()
    assert measured is not None
    assert [each.callback for each in measured.callbacks] == [
        "generate_orders", "on_bar", "on_order_update", "on_slice", "on_timer",
    ]  # fmt: skip
    assert 0 < measured.strategy_ratio < 1
    session, monitor = open_session(Hears()), RunMonitor(sample_every=1)
    session.measure(monitor)
    advance(session, ROWS)
    heard = monitor.finish()
    assert heard is not None
    assert "on_market_event" in {each.callback for each in heard.callbacks}


def test_callbacks_are_back_after_each_block_however_it_ends() -> None:
    class Broken(Strategy):
        def on_bar(self, bar: Bar, ctx: Context) -> None:
            raise InvariantBroken("a bug of ours")

    session, monitor = open_session(Broken()), RunMonitor(sample_every=1)
    session.measure(monitor)
    runner = session.runners["s0"]
    before = runner.on_row
    session.start()
    with pytest.raises(InvariantBroken):
        session.advance(5)
    assert runner.on_row == before
    assert runner.on_slice is None
    assert runner.generate is None


def test_session_that_goes_on_is_measured_from_there(slow: Slow) -> None:
    first = open_session(slow)
    first.start()
    first.advance(25)
    session, monitor = open_session(Slow()), RunMonitor(sample_every=1)
    session.restore(first.save())
    session.measure(monitor)
    session.advance(ROWS)
    measured = monitor.finish()
    assert measured is not None
    assert (measured.first_row, measured.rows) == (25, ROWS - 25)


def test_nothing_measured_is_none() -> None:
    assert RunMonitor().finish() is None


def test_points_are_thinned_out_and_still_reach_from_end_to_end(clock: Clock) -> None:
    def run_block(block: BarBlock, row: int) -> int:
        clock.now += 21_000_000
        return row + 1

    monitor = RunMonitor(10**9, 0)
    run = monitor.around(run_block, [])
    block = next(make_timeline(flat(1.0)).blocks(1))
    for row in range(5_000):
        run(block, row)
    measured = monitor.finish()
    assert measured is not None
    assert 120 <= len(measured.points) <= 241
    assert measured.points[-1].row == 5_000
    assert measured.points[-1].seconds == pytest.approx(105.0)
    assert all(each.rows_per_second == pytest.approx(1 / 0.021) for each in measured.points)
    rows = [each.row for each in measured.points]
    assert rows == sorted(set(rows))
    spread = np.diff(rows)[:-1]
    assert spread.max() <= 2 * spread.min() + 1


def test_memory_is_that_of_this_process() -> None:
    """Linux tells both; a block of 64 MiB shows in them."""
    before = read_memory_mib()
    block = np.ones(8 * 2**20)
    now, peak = read_memory_mib(), read_peak_memory_mib()
    assert now - before > 50
    assert peak >= now * 0.98
    del block


def test_measurements_are_saved_as_json_and_as_a_script(slow: Slow, tmp_path: Path) -> None:
    session, monitor = open_session(slow), RunMonitor(sample_every=1)
    session.measure(monitor)
    advance(session, ROWS)
    measured = monitor.finish()
    assert measured is not None
    save_measurements(tmp_path, measured)
    content = json.loads((tmp_path / "performance.json").read_bytes())
    assert content["rows"] == ROWS
    assert content["callbacks"][0]["callback"] == "on_bar"
    script = (tmp_path / "performance.js").read_text()
    head, _, body = script.partition(" = ")
    assert head == "window.onetapePerformance"
    assert json.loads(body.removesuffix(";\n")) == content
