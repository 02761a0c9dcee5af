"""What is known of prices at a row: by example, and against reading every row up to it."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.events import OrderFilled
from onetape.domain.instrument import InstrumentId, make_spot
from onetape.domain.numbers import compute_ticks
from onetape.domain.orders import LiquiditySide, Side
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.ledger import Ledger
from onetape.runtime.market_state import MarketState, Valuation
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MINUTE,
    MSFT,
    OTHER,
    T0,
    flat,
    make_columns,
    make_timeline,
)

COIN = make_spot("BTC-USD.TEST", base="BTC", quote="USD", tick_size="0.05", lot_size="0.001")


def two() -> Timeline:
    """AAPL at minutes 0 1 2 3, MSFT at 1 3; rows: A0, A1 M1, A2, A3 M3."""
    other = make_columns(flat(50, 60), start=T0 + MINUTE, step=2 * MINUTE, length=MINUTE)
    return make_timeline(flat(10, 11, 12, 13), (OTHER, other))


def test_market_state_knows_nothing_before_the_first_row() -> None:
    market = MarketState(two())
    assert market.mark_ticks(0) == market.mark_ticks(1) == 0
    assert math.isnan(market.close(0))
    assert market.history(AAPL, "close", 5).tolist() == []
    assert market.last_row(0) == -1


def test_market_state_marks_follow_the_newest_row_of_each_instrument() -> None:
    market = MarketState(two())
    seen: list[tuple[int, int]] = []
    for row in range(6):
        market.row = row
        seen.append((market.mark_ticks(0), market.mark_ticks(1)))
    assert seen == [
        (1_000, 0), (1_100, 0), (1_100, 5_000), (1_200, 5_000), (1_300, 5_000), (1_300, 6_000),
    ]  # fmt: skip


def test_market_state_mark_is_the_nearest_tick() -> None:
    market = MarketState(make_timeline((COIN, make_columns(flat(10.024, 10.026, 10.05)))))
    assert market.close_ticks == [200, 201, 201]


def test_market_state_history_ends_at_the_row_and_is_a_copy() -> None:
    market = MarketState(make_timeline([(1, 3, 0.5, 2), (2, 4, 1, 3), (3, 5, 2, 4)]))
    market.row = 1
    assert market.history(AAPL, "high", 5).tolist() == [3, 4]
    assert market.history(AAPL, "close", 1).tolist() == [3]
    assert market.history(AAPL, "close", 0).tolist() == []
    market.history(AAPL, "close", 2)[:] = 99
    assert market.history(AAPL, "close", 2).tolist() == [2, 3]


def test_market_state_finds_where_sessions_begin() -> None:
    market = MarketState(make_timeline(flat(*range(1, 8)), session=3))
    assert market.session_starts == [0, 3, 6]
    assert market.session_start_between(-1, 2) == 0
    assert market.session_start_between(0, 2) == -1
    assert market.session_start_between(2, 3) == 3
    assert market.session_start_between(3, 5) == -1
    assert market.session_start_between(0, 6) == 6


times = st.lists(st.integers(0, 12), unique=True, max_size=8).map(sorted)


def sparse(minutes: list[int], base: float) -> dict[str, np.ndarray]:
    """Bars of one minute at these minutes; the close tells instrument and minute."""
    columns = make_columns(flat(*(base + each for each in minutes)))
    starts = np.array([T0 + each * MINUTE for each in minutes], dtype=np.int64)
    columns["ts_open"] = starts
    columns["ts_close"] = columns["ts_known"] = starts + MINUTE
    columns["session_close"] = starts + MINUTE
    return columns


@given(times.filter(bool), times, st.data())
def test_market_state_equals_reading_every_row(
    first: list[int], second: list[int], data: st.DataObject
) -> None:
    """Two instruments with gaps; the state is asked at some rows only, in order."""
    timeline = make_timeline((EQUITY, sparse(first, 100)), (OTHER, sparse(second, 200)))
    market = MarketState(timeline)
    index = timeline.instrument_index.tolist()
    close = timeline.columns["close"].tolist()
    for row in sorted(data.draw(st.sets(st.integers(-1, len(timeline) - 1)))):
        market.row = row
        for at, instrument in enumerate(timeline.instruments):
            mine = [close[each] for each in range(row + 1) if index[each] == at]
            rows = [each for each in range(row + 1) if index[each] == at]
            assert market.last_row(at) == (rows[-1] if rows else -1)
            expected = compute_ticks(mine[-1], instrument.tick_float, 0) if mine else 0
            assert market.mark_ticks(at) == expected
            assert market.history(instrument.id, "close", 3).tolist() == mine[-3:]
            assert market.close(at) == mine[-1] if mine else math.isnan(market.close(at))


def fill(instrument: InstrumentId, signed: int, ticks: int) -> OrderFilled:
    side = Side.BUY if signed > 0 else Side.SELL
    lots = abs(signed)
    notional = lots * ticks * EQUITY.minor_per_tick_lot
    return OrderFilled(
        "o", "s", instrument, side, lots, ticks, notional, 0, LiquiditySide.TAKER, 0, 0
    )


def test_valuation_is_cash_and_positions_at_the_marks_of_the_row() -> None:
    timeline = two()
    market = MarketState(timeline)
    ledger = Ledger("s", "USD", timeline.instruments)
    ledger.deposit(10**12)
    valuation = Valuation(ledger, market, {AAPL: 0, MSFT: 1})
    market.row = 2
    ledger.apply(fill(AAPL, 10, 1_000))  # 10 at 10.00
    ledger.apply(fill(MSFT, -4, 5_500))  # 4 short at 55.00
    valuation.expire()
    valuation.refresh()
    assert valuation.net == (10 * 11 - 4 * 50) * 10**8
    assert valuation.gross == (10 * 11 + 4 * 50) * 10**8
    assert valuation.equity == 10**12 + (10 * (11 - 10) + 4 * (55 - 50)) * 10**8
    market.row = 5
    valuation.refresh()
    assert valuation.equity == 10**12 + (10 * (13 - 10) + 4 * (55 - 60)) * 10**8
