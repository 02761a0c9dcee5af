"""Orders on the recorded depth of Binance: levels, walks and queues against a fold of the messages.

What is expected is counted from the JSON alone, without the timeline, the venue or its rules.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from itertools import pairwise

import pytest

from onetape.domain.orders import Side
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED
from onetape.execution.simulated.fill_terms import FillTerms, QueueModel
from onetape.marketdata.timeline import Timeline
from onetape.strategy.context import Context
from tests.support.recorded_depth import BTCUSDT, read_book, read_messages
from tests.support.session_runs import SessionRun, run_session
from tests.support.shared_data import needs_shared
from tests.support.timelines import scripted

pytestmark = needs_shared

SECONDS = 75.0
AFTER = (4, 62, 68)
"""Seconds after the snapshot at which orders are sent."""


@cache
def timeline() -> Timeline:
    return read_book(SECONDS)


@cache
def trade_row(after: int) -> int:
    """The first whole row so many seconds after the beginning."""
    columns = timeline().columns
    ts = columns["ts_event"]
    late = (
        (ts > ts[0] + after * 1_000_000_000) & (columns["is_whole"] == 1) & (columns["what"] == 2)
    )
    return int(late.argmax())


def book_at(ts: int) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
    """Bids and asks from the messages up to `ts`."""
    sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] = ({}, {})
    known, waiting = -1, []
    for arrival, data in read_messages(SECONDS):
        if arrival > ts:
            break
        if "lastUpdateId" in data:
            known = data["lastUpdateId"]
            parts = [(data["bids"], data["asks"])]
            parts += [(each["b"], each["a"]) for each in waiting if each["u"] > known]
        elif data.get("e") == "depthUpdate":
            if known < 0:
                waiting.append(data)
                continue
            parts = [(data["b"], data["a"])]
        else:
            continue
        for part in parts:
            for side, levels in zip(sides, part, strict=True):
                for price, size in levels:
                    side[Decimal(price)] = Decimal(size)
    return tuple({price: size for price, size in side.items() if size} for side in sides)  # pyright: ignore[reportReturnType]


def run(fill: FillTerms, quantity: float, after: int, *, at_bid: bool) -> SessionRun:
    """Buys at market, or joins the best bid, at `trade_row`."""
    rows = [-1]

    def hear(_event: object, ctx: Context) -> None:
        rows[0] += 1
        if rows[0] == trade_row(after):
            limit = float(timeline().columns["bid"][trade_row(after)]) if at_bid else None
            ctx.order(BTCUSDT, Side.BUY, quantity, limit=limit)

    strategy = scripted(on_market_event=hear)
    return run_session(timeline(), strategy, fill=fill, capital=50_000_000)


@pytest.mark.parametrize("after", AFTER)
def test_market_order_walks_the_recorded_levels(after: int) -> None:
    _, asks = book_at(int(timeline().columns["ts_event"][trade_row(after)]))
    wanted, expected = 4_000_000, []
    for price in sorted(asks):
        lots = min(floor_lots(asks[price]), wanted)
        if lots:
            expected.append((lots, int(price * 100)))
        wanted -= lots
        if not wanted:
            break
    done = run(FillTerms(), 40.0, after, at_bid=False)
    assert len(done.fills) > 1
    assert [(each.lots, each.ticks) for each in done.fills] == expected


def floor_lots(size: Decimal | str) -> int:
    """Whole lots of 0.00001."""
    return int(Decimal(size) * 100_000)


def ceil_lots(size: Decimal | str) -> int:
    """Lots of 0.00001, the last one begun."""
    return -int(-Decimal(size) * 100_000 // 1)


def expect_risk_averse(wanted: int, after: int) -> list[tuple[int, int]]:
    """(time, lots) of the fills of an order that joins the best bid, from the messages."""
    start = int(timeline().columns["ts_event"][trade_row(after)])
    bids, asks = book_at(start)
    price = max(bids)
    ahead, fills = ceil_lots(bids[price]), []
    best_asks = dict(asks)
    for arrival, data in read_messages(SECONDS):
        if arrival <= start or not wanted:
            continue
        if data.get("e") == "trade" and Decimal(data["p"]) == price and data["m"]:
            lots = floor_lots(data["q"])
            given = min(wanted, max(0, lots - ahead))
            ahead = max(0, ahead - lots)
        elif data.get("e") == "trade" and Decimal(data["p"]) < price:
            given = wanted
        elif data.get("e") == "depthUpdate":
            for level, size in data["b"]:
                if Decimal(level) == price:
                    ahead = min(ahead, ceil_lots(size))
            for level, size in data["a"]:
                best_asks[Decimal(level)] = Decimal(size)
            below = [floor_lots(size) for level, size in best_asks.items() if level < price]
            given = min(wanted, sum(below))
        else:
            continue
        if given:
            fills.append((arrival, given))
            wanted -= given
    return fills


@pytest.mark.parametrize("after", AFTER)
def test_risk_averse_queue_fills_as_the_recorded_messages_say(after: int) -> None:
    expected = expect_risk_averse(50_000, after)
    done = run(FillTerms(queue=QueueModel.RISK_AVERSE), 0.5, after, at_bid=True)
    assert expected
    assert [(each.ts_fill, each.lots) for each in done.fills] == expected


@pytest.mark.parametrize("queue", [each for each in QueueModel if each > QueueModel.RISK_AVERSE])
def test_other_queues_fill_between_the_risk_averse_and_a_touch(queue: QueueModel) -> None:
    models = [FillTerms(limit_reach=LIMIT_TOUCHED), FillTerms(queue=queue),
              FillTerms(queue=QueueModel.RISK_AVERSE), FillTerms()]  # fmt: skip
    filled = [run(fill, 0.5, 62, at_bid=True).fills for fill in models]
    assert all(filled)
    for sooner, later in pairwise(filled):
        times = [each.ts_fill for each in later]
        for ts in times:
            assert sum(each.lots for each in sooner if each.ts_fill <= ts) >= sum(
                each.lots for each in later if each.ts_fill <= ts
            )
