"""Peak and session-start equity: lazy, and equal to a fold that looks at every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.events import OrderDenied, OrderFilled
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import DenialCode, LiquiditySide, Side
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.ledger import Ledger
from onetape.risk.limits import RiskLimits
from onetape.runtime.equity_watch import EquityWatch
from onetape.runtime.market_state import MarketState
from tests.support.session_runs import run_session
from tests.support.timelines import AAPL, EQUITY, MSFT, Prices, at_rows, flat, make_timeline

CAPITAL = 10_000 * 10**8
FACTOR = EQUITY.minor_per_tick_lot


class Fill(NamedTuple):
    """A fill in the bar `row`: it is booked before the row's close is known."""

    row: int
    instrument: InstrumentId
    signed: int
    ticks: int
    fee: int = 0


class Books:
    """Ledger and watch, brought together as a runner does it."""

    def __init__(self, timeline: Timeline) -> None:
        index = {each.id: at for at, each in enumerate(timeline.instruments)}
        self.market = MarketState(timeline)
        self.ledger = Ledger("s", "USD", timeline.instruments)
        self.ledger.deposit(CAPITAL)
        self.watch = EquityWatch(self.ledger, self.market, index, timeline)

    def settle(self, fill: Fill) -> None:
        self.watch.advance()
        side = Side.BUY if fill.signed > 0 else Side.SELL
        lots = abs(fill.signed)
        self.ledger.apply(
            OrderFilled("o", "s", fill.instrument, side, lots, fill.ticks,
                        lots * fill.ticks * FACTOR, fill.fee, LiquiditySide.TAKER, 0, 0)
        )  # fmt: skip


def fold_naively(timeline: Timeline, fills: Sequence[Fill]) -> list[tuple[int, int]]:
    """(peak, session-start equity) at every row, looking at each row in turn.

    Equity counts at the ends of slices. A session begins where `session_close` rises; its start
    equity is that of the row before.
    """
    ids = [each.id for each in timeline.instruments]
    cash, equity, peak, start, session = CAPITAL, CAPITAL, CAPITAL, CAPITAL, -1
    lots = dict.fromkeys(ids, 0)
    marks = dict.fromkeys(ids, 0)
    seen: list[tuple[int, int]] = []
    for row, at in enumerate(timeline.instrument_index.tolist()):
        if timeline.columns["session_close"][row] > session:
            session = int(timeline.columns["session_close"][row])
            start = equity
        for fill in fills:
            if fill.row == row:
                lots[fill.instrument] += fill.signed
                cash -= fill.signed * fill.ticks * FACTOR + fill.fee
        marks[ids[at]] = round(timeline.columns["close"][row] * 100)
        equity = cash + sum(lots[name] * marks[name] * FACTOR for name in ids)
        if timeline.slice_end[row]:
            peak = max(peak, equity)
        seen.append((peak, start))
    return seen


def watch_lazily(
    timeline: Timeline, fills: Sequence[Fill], asked: set[int]
) -> dict[int, tuple[int, int]]:
    """What the watch says at the rows where a gate asks."""
    books = Books(timeline)
    said: dict[int, tuple[int, int]] = {}
    for row in range(len(timeline)):
        for fill in fills:
            if fill.row == row:
                books.settle(fill)
        books.market.row = row
        if row in asked:
            books.watch.advance()
            said[row] = (books.watch.peak, books.watch.session_start)
    return said


prices = st.lists(st.integers(1, 200).map(float), min_size=1, max_size=9)


@given(st.data(), prices, st.one_of(st.just([]), prices), st.integers(1, 5))
def test_watch_equals_a_fold_over_every_row(
    data: st.DataObject, first: list[float], second: list[float], session: int
) -> None:
    """Fills at the newest mark, so that equity moves with the closes alone."""
    series = [flat(*first)] + ([flat(*second)] if second else [])
    timeline = make_timeline(*series, session=session)
    marks: dict[InstrumentId, int] = {}
    fills: list[Fill] = []
    for row, at in enumerate(timeline.instrument_index.tolist()):
        name = timeline.instruments[at].id
        if name in marks and data.draw(st.booleans()):
            fills.append(Fill(row, name, data.draw(st.integers(-9, 9).filter(bool)), marks[name]))
        marks[name] = round(timeline.columns["close"][row] * 100)
    asked = data.draw(st.sets(st.integers(0, len(timeline) - 1)))
    naive = fold_naively(timeline, fills)
    for row, said in watch_lazily(timeline, fills, asked).items():
        assert said == naive[row], row


STORIES: dict[str, tuple[list[Prices], list[Fill]]] = {
    "bought far below the last close": (flat(100, 90), [Fill(1, AAPL, 100, 9_000)]),
    "bought far above it": (flat(100, 110), [Fill(1, AAPL, 100, 11_000)]),
    "a fee at the first bar of the day": (flat(100, 100), [Fill(1, AAPL, 1, 10_000, 5 * 10**8)]),
    "in and out inside a bar": (
        flat(100, 90), [Fill(1, AAPL, 100, 9_000), Fill(1, AAPL, -100, 9_000)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
def test_watch_does_not_take_a_fill_against_an_old_mark_for_equity(
    story: tuple[list[Prices], list[Fill]],
) -> None:
    """Between a fill at the open and the close of its bar the mark is yesterday's."""
    rows, fills = story
    timeline = make_timeline(rows, session=1)
    last = len(timeline) - 1
    assert watch_lazily(timeline, fills, {last})[last] == fold_naively(timeline, fills)[last]


@pytest.mark.parametrize(("signed", "best"), [(10, 120), (-10, 80)])
def test_watch_peak_is_found_between_the_rows_that_are_asked_for(signed: int, best: int) -> None:
    timeline = make_timeline(flat(100, 100, 120, 80, 100))
    fills = [Fill(1, AAPL, signed, 10_000)]
    assert watch_lazily(timeline, fills, {4})[4][0] == CAPITAL + signed * (best - 100) * 10**8


def test_watch_peak_ignores_the_moment_when_half_a_slice_is_new() -> None:
    """Long one, short the other, both double: between their bars equity was never real."""
    timeline = make_timeline(flat(100, 200), flat(100, 200))
    fills = [Fill(2, AAPL, 10, 10_000), Fill(2, MSFT, -10, 10_000)]
    assert watch_lazily(timeline, fills, {3})[3] == (CAPITAL, CAPITAL)


def test_watch_of_two_finds_the_session_that_began_between_the_rows_that_are_asked_for() -> None:
    timeline = make_timeline(flat(100, 110, 130, 160), flat(50, 60, 80, 110), session=2)
    fills = [Fill(2, AAPL, 10, 10_000), Fill(3, MSFT, -4, 5_000)]
    last = len(timeline) - 1
    said = watch_lazily(timeline, fills, {last})[last]
    assert said == fold_naively(timeline, fills)[last]
    assert said[1] == CAPITAL + (10 * (110 - 100) - 4 * (60 - 50)) * 10**8


def denials(rows: list[Prices], limits: RiskLimits) -> list[OrderDenied]:
    """Buys 100 at the second open, then asks for one more at its close."""
    strategy = at_rows({0: lambda c: c.buy(AAPL, 100), 1: lambda c: c.buy(AAPL, 1)})
    return run_session(
        make_timeline(rows, session=1), strategy, capital=20_000, limits=limits
    ).denied


def test_drawdown_gate_does_not_count_a_gain_that_never_was() -> None:
    """100 bought at the open of 90, after a close of 100; it closes at 90: nothing was lost."""
    rows = flat(100, 90, 90)
    assert denials(rows, RiskLimits(max_drawdown_pct=2)) == []


def test_daily_loss_gate_does_not_count_a_gain_that_never_was() -> None:
    rows = flat(100, 90, 90)
    assert denials(rows, RiskLimits(max_daily_loss_pct=2)) == []


def test_daily_loss_gate_sees_the_loss_of_a_day_that_opened_with_a_gap() -> None:
    """100 bought at 110 after a close of 100, closed at 104: 600 of 20_000 lost, 3 %."""
    rows = [(100.0,), (110.0, 110.0, 104.0, 104.0), (104.0,)]
    codes = [each.code for each in denials(rows, RiskLimits(max_daily_loss_pct=2))]
    assert codes == [DenialCode.DAILY_LOSS]
