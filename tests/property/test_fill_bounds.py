"""Every fill model lies between its pessimistic and its optimistic twin, and looks at nothing old.

Runs of the real session on random data. What is compared is the quantity that an order has filled
by each moment, and the price where two models fill in the same bar.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import OrderFilled, SessionStarted, SessionStopped
from onetape.domain.market import TimeSlice
from onetape.domain.orders import Side
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
from onetape.execution.simulated.fill_terms import (
    BarPath,
    FillTerms,
    MarketPrice,
    QueueModel,
    RestOfOrder,
    Trigger,
)
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.queue_rules import compute_ahead
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from tests.support.session_runs import SessionRun, run_session
from tests.support.ticks import make_book_timeline, make_deltas, make_quote_timeline
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MINUTE,
    SECOND,
    T0,
    make_columns,
    make_prints,
    scripted,
)

FEW = settings(max_examples=12, deadline=None)


class Wish(NamedTuple):
    """An order: side, lots, limit and stop (0: none), decided at a row."""

    side: Side
    lots: int
    limit: float
    stop: float
    row: int


@st.composite
def wishes(draw: st.DrawFn, *, row: int = 1) -> Wish:
    limit, stop = (
        draw(st.sampled_from([0.0, *(half / 2 for half in range(192, 209))])) for _ in range(2)
    )
    return Wish(draw(st.sampled_from(list(Side))), draw(st.integers(1, 12)), limit, stop, row)


def decide(wish: Wish) -> Strategy:
    """Gives the order at its row."""
    seen = [-1]

    def hear(event: object, ctx: Context) -> None:
        seen[0] += not isinstance(event, TimeSlice)
        if seen[0] == wish.row and not isinstance(event, TimeSlice):
            prices = {"limit": wish.limit or None, "stop": wish.stop or None}
            ctx.order(AAPL, wish.side, wish.lots, **prices)

    return scripted(on_market_event=hear)


def run(timeline: Timeline, wish: Wish, fill: FillTerms, **how: Any) -> SessionRun:
    done = run_session(timeline, decide(wish), fill=fill, capital=10_000_000, **how)
    assert not done.quarantined
    assert not done.denied
    return done


def filled_by(done: SessionRun, times: list[int]) -> list[int]:
    """Lots filled up to each time."""
    return [sum(each.lots for each in done.fills if each.ts_fill <= ts) for ts in times]


@st.composite
def bars(draw: st.DrawFn, *, gap: int = 0) -> Timeline:
    rows = []
    for _ in range(draw(st.integers(3, 6))):
        prices = [draw(st.integers(960, 1040)) / 10 for _ in range(4)]
        rows.append((prices[0], max(prices), min(prices), prices[1], 100.0))
    columns = make_columns(rows, step=MINUTE + gap, length=MINUTE)
    return build_timeline([(EQUITY, columns)], source="test", timeframe="1m")


def bar_of(timeline: Timeline, fill: OrderFilled) -> int:
    """The bar that a fill is from; an open belongs to its own."""
    return int(np.searchsorted(timeline.columns["ts_open"], fill.ts_fill, side="right")) - 1


PATHS = [FillTerms(limit_reach=reach, path=path)
         for reach, path in product((LIMIT_TRADED_THROUGH, LIMIT_TOUCHED), BarPath)]  # fmt: skip


@FEW
@given(bars(gap=1000), wishes())
def test_bar_paths_lie_between_pessimistic_and_optimistic(timeline: Timeline, wish: Wish) -> None:
    worst = run(timeline, wish, FillTerms(limit_reach=LIMIT_TRADED_THROUGH))
    best = run(timeline, wish, FillTerms(limit_reach=LIMIT_TOUCHED, path=BarPath.OPTIMISTIC))
    times = timeline.columns["ts_close"].tolist()
    low, high = filled_by(worst, times), filled_by(best, times)
    for fill in PATHS:
        done = run(timeline, wish, fill)
        between = filled_by(done, times)
        assert all(a <= b <= c for a, b, c in zip(low, between, high, strict=True)), fill
        for (a, b), sign in product(((worst, done), (done, best)), (wish.side,)):
            for x, y in product(a.fills, b.fills):
                if bar_of(timeline, x) == bar_of(timeline, y):
                    assert (x.ticks - y.ticks) * sign >= 0, fill


@FEW
@given(bars(gap=1000), st.integers(1, 5), st.integers(1, 5), st.sampled_from(list(Side)))
def test_bracket_earns_no_less_on_a_better_path(
    timeline: Timeline, profit: int, loss: int, side: Side
) -> None:
    def enter(ctx: Context) -> None:
        price = ctx.mark(AAPL)
        target, stop = price + side * profit, price - side * loss
        ctx.bracket(AAPL, side, 10, take_profit=round(target, 2), stop_loss=round(stop, 2))

    def equity(path: BarPath) -> int:
        seen: list[int] = []

        def hear(_event: object, ctx: Context) -> None:
            if not seen:
                enter(ctx)
            seen.append(1)

        done = run_session(
            timeline, scripted(on_market_event=hear), capital=10_000_000, fill=FillTerms(path=path)
        )
        return done.equity()

    worst, best = equity(BarPath.PESSIMISTIC), equity(BarPath.OPTIMISTIC)
    for path in (BarPath.OPEN_HIGH_LOW_CLOSE, BarPath.OPEN_LOW_HIGH_CLOSE):
        assert worst <= equity(path) <= best


@st.composite
def depths(draw: st.DrawFn, *, delay: int = 0, quotes: bool = False) -> Timeline:
    """Bids below 100 and asks above it, in steps of a half, that change at random; and prints."""
    rows: list[tuple[float, int, float, float]] = [(0, 1, 98.0, 50), (0, 0, 102.0, 50)]
    tops: list[tuple[float, ...]] = [(98.0, 102.0, 50, 50)]
    middle, count = 200, draw(st.integers(4, 14))
    levels: dict[tuple[int, int], int] = {(1, 196): 50, (0, 204): 50}
    for second in range(1, count):
        middle += draw(st.integers(-2, 2))
        for is_bid, half in list(levels):
            crossed = half >= middle if is_bid else half <= middle
            if crossed:
                rows.append((second, is_bid, half / 2, 0))
                del levels[is_bid, half]
        for _ in range(draw(st.integers(1, 3))):
            is_bid, size = draw(st.integers(0, 1)), draw(st.integers(0, 9))
            half = middle + draw(st.integers(1, 4)) * (-1 if is_bid else 1)
            rows.append((second, is_bid, half / 2, size))
            levels[is_bid, half] = size
            if not size:
                del levels[is_bid, half]
        bid = max((half for is_bid, half in levels if is_bid), default=0)
        ask = min((half for is_bid, half in levels if not is_bid), default=0)
        tops.append((bid / 2, ask / 2, levels.get((1, bid), 0), levels.get((0, ask), 0)))
    times = sorted(draw(st.lists(st.integers(1, 2 * count), max_size=8)))
    prices = [(draw(st.integers(192, 208)) / 2, float(draw(st.integers(1, 30)))) for _ in times]
    sides = np.array([draw(st.sampled_from([1, -1, 0])) for _ in times], dtype=np.int64)
    at = [each * SECOND // 2 for each in times]
    prints = (prices, at) if times else None
    if quotes:
        return make_quote_timeline(tops, prints=prints, delay=delay)
    table = make_deltas(rows, delay=delay)
    if prints is None:
        return make_book_timeline(table)
    return make_book_timeline(table, prints=prints, delay=delay, aggressor=sides)


QUEUES = [FillTerms(queue=each, queue_power=2) for each in QueueModel if each]


@FEW
@given(depths(), wishes(row=3))
def test_queue_models_lie_between_traded_through_and_touched(
    timeline: Timeline, wish: Wish
) -> None:
    wish = wish._replace(stop=0.0, limit=wish.limit or 100.0)
    times = sorted(set(timeline.columns["ts_event"].tolist()))
    low = filled_by(run(timeline, wish, FillTerms()), times)
    high = filled_by(run(timeline, wish, FillTerms(limit_reach=LIMIT_TOUCHED)), times)
    averse = filled_by(run(timeline, wish, QUEUES[0]), times)
    for fill in QUEUES:
        between = filled_by(run(timeline, wish, fill), times)
        rows = zip(low, averse, between, high, strict=True)
        assert all(a <= b <= c <= d for a, b, c, d in rows), fill


@FEW
@given(depths(quotes=True), st.integers(1, 120), st.sampled_from(list(Side)))
def test_walking_behind_a_quote_is_never_later_nor_better_than_its_best_price(
    timeline: Timeline, lots: int, side: Side
) -> None:
    wish = Wish(side, lots, 0.0, 0.0, 1)
    waits = run(timeline, wish, FillTerms())
    walks = run(timeline, wish, FillTerms(rest=RestOfOrder.WALK))
    times = timeline.columns["ts_event"].tolist()
    assert all(a <= b for a, b in zip(filled_by(waits, times), filled_by(walks, times),
                                      strict=True))  # fmt: skip
    if waits.fills and walks.fills:
        assert (walks.fills[0].ticks - waits.fills[0].ticks) * side >= 0


class Queue:
    """Orders at a price one by one: who is ahead of us, who behind."""

    def __init__(self, ahead: list[int]) -> None:
        self.ahead = list(ahead)
        self.behind: list[int] = []

    @property
    def lots(self) -> int:
        return sum(self.ahead) + sum(self.behind)

    def trade(self, lots: int) -> int:
        """Serve the queue; what is left for us."""
        for part in (self.ahead, self.behind):
            while part and lots:
                served = min(lots, part[0])
                lots -= served
                part[0] -= served
                if not part[0]:
                    part.pop(0)
            if part is self.ahead:
                ours = lots
        return ours


@FEW
@given(
    st.lists(st.integers(1, 9), max_size=5),
    st.lists(st.tuples(st.sampled_from("jcbt"), st.integers(1, 12)), max_size=12),
    st.integers(1, 6),
)
def test_no_queue_model_is_ahead_of_less_than_the_risk_averse_nor_that_of_less_than_the_orders(
    ahead: list[int], events: list[tuple[str, int]], power: int
) -> None:
    """A naive book order by order against the levels that it shows; and exact without `c`."""
    queue = Queue(ahead)
    first = queue.lots
    models = {each: first for each in QueueModel if each}
    canceled_ahead = False
    for what, lots in events:
        before, traded = queue.lots, 0
        if what == "j":
            queue.behind.append(lots)
        elif what == "c" and queue.ahead:
            canceled_ahead = True
            queue.ahead.pop(lots % len(queue.ahead))
        elif what == "b" and queue.behind:
            queue.behind.pop(lots % len(queue.behind))
        elif what == "t":
            queue.trade(lots)
            traded = min(lots, before)
            models = {each: max(0, held - lots) for each, held in models.items()}
        for each, held in models.items():
            models[each] = compute_ahead(each, power, held, traded, before, queue.lots)
        averse = models[QueueModel.RISK_AVERSE]
        assert sum(queue.ahead) <= averse <= queue.lots
        assert all(0 <= held <= averse for held in models.values())
        if not canceled_ahead:
            assert sum(queue.ahead) == averse


@given(st.integers(0, 60), st.integers(0, 60), st.data())
def test_first_power_gives_the_exact_expectation(ahead: int, behind: int, data: st.DataObject) -> None:  # fmt: skip  # noqa: E501
    """Lots that leave at random: a share ahead / all of them is ahead of us (hypergeometric)."""
    total = ahead + behind
    left = data.draw(st.integers(0, max(0, total - 1)))
    gone = total - left
    found = compute_ahead(QueueModel.POWER, 1, ahead, 0, total, left)
    expected = ahead - gone * ahead / total if total else 0.0
    assert expected - 1e-9 <= found < expected + 1


# Nothing old, nothing from the future.

LATE = [LatencyModel(mean_ms=ms) for ms in (0, 300, 1000, 61_000)]


@FEW
@given(bars(), wishes(), st.sampled_from(LATE), st.sampled_from(list(MarketPrice)),
       st.sampled_from(list(BarPath)), st.data())  # fmt: skip
def test_fills_from_bars_are_of_prices_after_the_arrival(
    timeline: Timeline, wish: Wish, latency: LatencyModel, market: MarketPrice, path: BarPath,
    data: st.DataObject,
) -> None:  # fmt: skip
    """No time before the arrival, and other prices before it change nothing."""
    fill = FillTerms(market=market, path=path)
    done = run(timeline, wish, fill, latency=latency)
    closes = timeline.columns["ts_close"]
    arrival = int(closes[wish.row]) + int(float(latency.mean_ms) * 1_000_000)
    assert all(each.ts_fill >= arrival for each in done.fills)
    columns = {name: column.copy() for name, column in timeline.columns.items()}
    old = closes < arrival if market is MarketPrice.SAME_CLOSE else closes <= arrival
    for name in ("open", "high", "low", "close"):
        columns[name][old] = data.draw(st.integers(90, 110))
    other = build_timeline([(EQUITY, columns)], source="test", timeframe="1m")
    again = run(other, wish, fill, latency=latency)
    assert [(each.lots, each.ticks) for each in again.fills] == [
        (each.lots, each.ticks) for each in done.fills
    ]


TICK_FILLS = [
    FillTerms(queue=queue, rest=rest, trigger=trigger, limit_reach=reach)
    for queue, rest, trigger, reach in product(
        (QueueModel.NONE, QueueModel.RISK_AVERSE, QueueModel.LOG), RestOfOrder, Trigger,
        (LIMIT_TRADED_THROUGH, LIMIT_TOUCHED),
    )
]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.data(), wishes(row=2), st.sampled_from(LATE), st.sampled_from(TICK_FILLS),
       st.booleans(), st.sampled_from([0, SECOND // 4, 3 * SECOND]))  # fmt: skip
def test_ticks_fill_at_the_arrival_or_later_and_later_rows_change_nothing(
    data: st.DataObject, wish: Wish, latency: LatencyModel, fill: FillTerms, quotes: bool,
    delay: int,
) -> None:  # fmt: skip
    timeline = data.draw(depths(delay=delay, quotes=quotes))
    done = run(timeline, wish, fill, latency=latency)
    known = timeline.columns["ts_known"]
    if len(known) > wish.row:
        arrival = int(known[wish.row]) + int(float(latency.mean_ms) * 1_000_000)
        assert all(each.ts_fill >= arrival for each in done.fills)
    cut = data.draw(st.integers(wish.row + 1, max(wish.row + 1, len(timeline))))
    (block,) = timeline.blocks(len(timeline))
    shorter = Timeline(
        timeline.instruments, timeline.instrument_index[:cut],
        {name: column[:cut] for name, column in block.columns.items()},
        {AAPL: np.arange(min(cut, len(timeline)))}, datasets=(), source="test",
        timeframe=timeline.timeframe, kind=timeline.kind,
    )  # fmt: skip
    before = told(run(shorter, wish, fill, latency=latency))
    assert told(done)[: len(before)] == before


def told(done: SessionRun) -> list[tuple[int, Any]]:
    """Everything that happened, with its time, but the header and the end."""
    return [
        (each.ts_event, each.payload)
        for each in done.events
        if not isinstance(each.payload, SessionStarted | SessionStopped)
    ]


@pytest.mark.parametrize("queue", [QueueModel.NONE, QueueModel.RISK_AVERSE])
@pytest.mark.parametrize("latency", LATE[:3])
def test_print_at_the_arrival_gives_nothing(queue: QueueModel, latency: LatencyModel) -> None:
    """Prints a second apart; the order arrives between two, or with one."""
    prices = make_prints([100.0, 90.0, 95.0, 95.0])
    timeline = build_trade_timeline([(EQUITY, prices)], source="test")
    fill = FillTerms(queue=queue, queue_ahead=0)
    (only,) = run(timeline, Wish(Side.BUY, 1, 0.0, 0.0, 0), fill, latency=latency).fills
    arrival = T0 + int(float(latency.mean_ms) * 1_000_000)
    assert only.ts_fill == (T0 + SECOND if arrival < T0 + SECOND else T0 + 2 * SECOND)
