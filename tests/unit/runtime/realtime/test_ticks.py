"""Which ticks become rows of a session, and with what said of them."""

from __future__ import annotations

import math

import pytest

from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.market import BookDelta, Quality, QuoteTick, TradeTick
from onetape.domain.timestamps import from_iso
from onetape.domain.venue import Tick
from onetape.runtime.realtime.ticks import TickGate

HOURS = "hours:America/New_York:09:30-16:00"
AAPL = make_equity("AAPL.ALPACA", calendar=HOURS)
MSFT = make_equity("MSFT.ALPACA", calendar=HOURS)
NOON = from_iso("2024-03-11T16:00:00Z")
CLOSE = from_iso("2024-03-11T20:00:00Z")
NEXT_CLOSE = from_iso("2024-03-12T20:00:00Z")


def quote(
    bid: float = 100.0, ask: float = 100.1, bid_size: float = 3.0, ask_size: float = 2.0,
    ts: int = 0,
) -> QuoteTick:  # fmt: skip
    return QuoteTick(instrument=AAPL.id, ts_event=NOON + ts, ts_known=0, bid=bid, ask=ask,
                     bid_size=bid_size, ask_size=ask_size)  # fmt: skip


def trade(
    price: float = 100.0, size: float = 1.0, ts: int = 0, number: str = "",
    instrument: InstrumentId = AAPL.id,
) -> TradeTick:  # fmt: skip
    return TradeTick(instrument, NOON + ts, 0, price, size, trade_id=number)


def delta(price: float, size: float) -> BookDelta:
    return BookDelta(instrument=AAPL.id, ts_event=NOON, ts_known=0, is_bid=True, price=price,
                     size=size)  # fmt: skip


@pytest.mark.parametrize(
    ("ticks", "is_kept"),
    [
        ([quote()],                                     True),
        ([quote(ask=100.0)],                            True),   # locked, not crossed
        ([quote(bid=100.2)],                            False),
        ([quote(bid=100.2, bid_size=0.0)],              True),   # an empty side has no price
        ([quote(bid=0.0, bid_size=0.0)],                True),
        ([quote(bid=0.0)],                              False),
        ([quote(ask=-1.0)],                             False),
        ([quote(ask=math.inf)],                         False),
        ([quote(bid=math.nan)],                         False),
        ([quote(bid_size=math.nan)],                    False),
        ([quote(ask_size=-1.0)],                        False),
        ([quote(ask_size=1e12)],                        True),
        ([quote(ask_size=1e300)],                       False),
        ([quote(bid_size=0.0, ask_size=0.0)],           False),  # nothing has been told yet
        ([trade()],                                     True),
        ([trade(size=0.0)],                             True),
        ([trade(price=0.0)],                            False),
        ([trade(price=math.nan)],                       False),
        ([trade(size=-1.0)],                            False),
        ([delta(100.0, 3.0), delta(99.0, 0.0)],         True),
        ([delta(100.0, 3.0), delta(99.0, math.inf)],    False),  # an update as a whole or not
    ],
)  # fmt: skip
def test_tick_that_can_not_be_is_dropped_and_the_next_is_flagged(
    ticks: list[Tick], is_kept: bool
) -> None:
    gate = TickGate([AAPL])
    heard = gate.take(ticks)
    assert len(heard) == (len(ticks) if is_kept else 0)
    assert gate.dropped == (0 if is_kept else 1)
    (after,) = gate.take([quote(ts=5)])
    assert after.quality == (0 if is_kept else int(Quality.GAP_BEFORE))
    assert gate.take([quote(ts=6)])[0].quality == 0


def test_both_sides_may_be_empty_behind_a_price() -> None:
    gate = TickGate([AAPL])
    assert gate.take([quote()])
    assert gate.take([quote(bid_size=0.0, ask_size=0.0, ts=1)])


def test_tick_from_before_the_newest_gets_its_time() -> None:
    gate = TickGate([AAPL, MSFT])
    gate.take([quote(ts=10)])
    (late,) = gate.take([trade(ts=7)])
    assert (late.tick.ts_event, late.quality) == (NOON + 10, int(Quality.LATE))
    assert gate.take([trade(ts=10)])[0].quality == 0
    (other,) = gate.take([trade(ts=7, instrument=MSFT.id)])
    assert (other.tick.ts_event, other.quality) == (NOON + 7, 0)


def test_session_ends_at_its_close_or_is_the_next_one() -> None:
    gate = TickGate([AAPL])
    to_close = CLOSE - NOON
    closes = [gate.take([trade(ts=ts)])[0].session_close
              for ts in (-(10**13), 0, to_close, to_close + 1, to_close + 10**13)]  # fmt: skip
    assert closes == [CLOSE, CLOSE, CLOSE, NEXT_CLOSE, NEXT_CLOSE]


def test_prints_behind_the_newest_known_are_missed_ones() -> None:
    gate = TickGate([AAPL, MSFT])
    gate.go_on({AAPL.id: NOON + 2, MSFT.id: NOON + 2})
    history = [trade(ts=each, number=str(each)) for each in range(5)]
    history += [trade(ts=each, number=f"m{each}", instrument=MSFT.id) for each in (1, 2, 4)]
    missed = gate.find_missed(history, {AAPL.id: "2", MSFT.id: "lost"})
    told = [(each.instrument, each.tick.ts_event - NOON, each.quality) for each in missed]
    assert told == [
        (AAPL.id, 3, 0), (AAPL.id, 4, 0), (MSFT.id, 4, int(Quality.GAP_BEFORE)),
    ]  # fmt: skip


def test_new_session_takes_all_of_history() -> None:
    history = [trade(ts=each, number=str(each)) for each in range(3)]
    assert len(TickGate([AAPL]).find_missed(history, {AAPL.id: ""})) == 3


def test_quotes_behind_a_restart_are_behind_a_gap() -> None:
    gate = TickGate([AAPL])
    gate.go_on({AAPL.id: NOON})
    assert gate.take([quote(ts=1)])[0].quality == int(Quality.GAP_BEFORE)
