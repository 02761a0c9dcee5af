"""Trade prints as columns: what may be left out, what is refused, their order, their blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.domain.instrument import make_equity
from onetape.domain.market import AggressorSide, TradeBlock, TradeTick
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.trades import TRADE_COLUMNS, complete_trades

A, B = (make_equity(f"{name}.XNAS") for name in "AB")


def prints(*at: int, **columns: Any) -> dict[str, Any]:
    """Prints at these ns, at prices 1, 2, 3, ..., of sizes 10, 20, 30, ..."""
    number = np.arange(1, len(at) + 1, dtype=np.float64)
    ts_event = np.array(at, dtype=np.int64)
    return {"ts_event": ts_event, "price": number, "size": number * 10, **columns}


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_complete_trades_adds_what_is_left_out() -> None:
    given = prints(5, 5, 9)
    columns = complete_trades(given, "A")

    assert tuple(columns) == TRADE_COLUMNS
    assert columns["ts_known"] is given["ts_event"]
    assert columns["aggressor"].tolist() == [0, 0, 0]
    assert columns["aggressor"].dtype == np.int64
    assert columns["session_close"].tolist() == [NS_PER_DAY] * 3


def test_complete_trades_sessions_are_utc_days_and_midnight_ends_one() -> None:
    midnight = from_iso("2024-01-03")
    columns = complete_trades(prints(midnight - 1, midnight, midnight + 1), "A")
    assert columns["session_close"].tolist() == [midnight, midnight, midnight + NS_PER_DAY]


def test_complete_trades_keeps_what_is_given() -> None:
    given = prints(5, 9, ts_known=ints(7, 9), aggressor=ints(1, -1), session_close=ints(9, 20))
    columns = complete_trades(given, "A")
    assert all(columns[name] is given[name] for name in TRADE_COLUMNS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (prints(5, agressor=ints(1)), "no column 'agressor'.*did you mean 'aggressor'"),
        ({"ts_event": ints(5), "price": np.ones(1)}, "column 'size' is not float64 of 1 rows"),
        (prints(5, price=ints(1)), "column 'price' is not float64 of 1 rows"),
        (prints(5, 6, ts_known=ints(6)), "column 'ts_known' is not int64 of 2 rows"),
        (prints(5, 7, 6), "row 2: print before the one before it, at .*000000006Z$"),
        (prints(5, 6, ts_known=ints(5, 5)), "row 1: print known before it happened"),
        (prints(5, 6, ts_known=ints(9, 8)), "row 1: print known before the one before it"),
        (prints(5, 6, session_close=ints(5, 5)), "row 1: print whose session ends before it"),
        (prints(5, price=np.array([np.nan])), "row 0: print whose price is not finite"),
        (prints(5, size=np.array([-1.0])), "row 0: print whose size is negative or not finite"),
        (prints(5, size=np.array([np.nan])), "row 0: print whose size is negative or not finite"),
        (prints(5, size=np.array([np.inf])), "row 0: print whose size is negative or not finite"),
        (prints(5, 6, aggressor=ints(0, 2)), "row 1: print of an unknown aggressor"),
    ],
)  # fmt: skip
def test_complete_trades_refuses_what_can_not_be(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match="(?s)" + message):
        complete_trades(columns, "A.XNAS")


def test_trade_timeline_has_the_columns_of_bars_under_further_names() -> None:
    timeline = build_trade_timeline([(A, prints(5, 5, 9))], source="made")
    columns = timeline.columns

    assert (timeline.kind, timeline.timeframe, timeline.datasets) == ("trades", "trades", ())
    assert columns["ts_open"].tolist() == [4, 4, 8]
    assert all(columns[name] is columns["price"] for name in ("open", "high", "low", "close"))
    assert columns["volume"] is columns["size"]
    assert columns["ts_close"] is columns["ts_event"]
    assert timeline.slice_end.tolist() == [False, True, True]
    assert timeline.rows_of(A.id).tolist() == [0, 1, 2]


def test_trade_timeline_orders_by_knowledge_then_by_instrument_then_as_given() -> None:
    first = prints(5, 5, 8, ts_known=ints(6, 6, 8))
    timeline = build_trade_timeline([(B, first), (A, prints(5, 6, 6))], source="made")

    rows = zip(timeline.instrument_index.tolist(), timeline.columns["price"].tolist(), strict=True)
    assert list(rows) == [(1, 1), (0, 1), (0, 2), (1, 2), (1, 3), (0, 3)]
    assert timeline.slice_end.tolist() == [True, False, False, False, True, True]
    assert timeline.rows_of(A.id).tolist() == [0, 3, 4]
    assert all(timeline.columns[name] is timeline.columns["price"] for name in ("open", "close"))


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([], "a timeline needs an instrument"),
        ([(A, prints(1)), (A, prints(2))], "instrument A.XNAS comes twice"),
        ([(A, prints(2, 1))], "print before the one before it"),
    ],
)
def test_trade_timeline_refuses_what_is_no_market_data(series: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_trade_timeline(series, source="made")


@pytest.mark.parametrize(("rows", "start"), [(1, 0), (2, 1), (100, 0)])
def test_trade_blocks_tell_every_print(rows: int, start: int) -> None:
    series = [(A, prints(5, 7, aggressor=ints(1, -1), ts_known=ints(6, 8))), (B, prints(5))]
    timeline = build_trade_timeline(series, source="made")
    buyer, seller, unknown = AggressorSide
    told = [
        TradeTick(B.id, 5, 5, 1.0, 10.0, unknown, source="made"),
        TradeTick(A.id, 5, 6, 1.0, 10.0, buyer, source="made"),
        TradeTick(A.id, 7, 8, 2.0, 20.0, seller, source="made"),
    ]

    blocks = list(timeline.blocks(rows, start))

    assert all(isinstance(block, TradeBlock) for block in blocks)
    assert [each for block in blocks for each in block.events()] == told[start:]
    assert [block.event(at) for block in blocks for at in range(len(block))] == told[start:]
    assert all(type(each.aggressor) is AggressorSide for each in blocks[0].events())
    assert list(blocks[0].events(1)) == [blocks[0].event(at) for at in range(1, len(blocks[0]))]


def test_trade_block_shows_the_venue_a_bar_of_one_price_and_one_nanosecond() -> None:
    [block] = build_trade_timeline([(A, prints(5, 7))], source="made").blocks(2)
    bar = block.bar(1)
    assert bar.instrument == A.id
    assert bar.values() == (6, 7, NS_PER_DAY, 2.0, 2.0, 2.0, 2.0, 20.0)
    assert (bar.ts_event, bar.ts_known, bar.volume) == (7, 7, 20.0)
