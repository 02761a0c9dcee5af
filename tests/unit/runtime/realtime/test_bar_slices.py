"""Bars that come one by one become slices: whole ones at once, others after their grace."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.instrument import make_equity
from onetape.domain.market import Quality
from onetape.domain.venue import BarClosed
from onetape.runtime.realtime.slices import BarSlices

STOCKS = [make_equity(name, calendar="24/7") for name in ("A.X", "B.X", "C.X")]
A, B, C = (each.id for each in STOCKS)
MINUTE = 60_000_000_000
GRACE = 2_000_000_000


def bar(which: int, minute: int) -> BarClosed:
    """The bar that closes at a minute."""
    close = (minute + 1) * MINUTE
    return BarClosed(STOCKS[which].id, close - MINUTE, close, 0, 0, 1.0, 1.0, 1.0, 1.0, 1.0)


def told(slices: list[tuple[BarClosed, ...]]) -> list[list[tuple[str, int]]]:
    return [[(each.instrument, each.ts_close // MINUTE - 1) for each in bars] for bars in slices]


def test_whole_slice_comes_with_its_last_bar() -> None:
    slices = BarSlices(STOCKS, GRACE)
    assert slices.add(bar(1, 0), 5) == []
    assert slices.next_due == 5 + GRACE
    assert slices.add(bar(0, 0), 6) == []
    assert told(slices.add(bar(2, 0), 7)) == [[(B, 0), (A, 0), (C, 0)]]
    assert slices.next_due is None


def test_others_come_after_their_grace_and_not_before() -> None:
    slices = BarSlices(STOCKS, GRACE)
    slices.add(bar(0, 0), 100)
    slices.add(bar(1, 0), 100 + GRACE - 1)
    assert slices.expire(100 + GRACE - 1) == []
    assert told(slices.expire(100 + GRACE)) == [[(A, 0), (B, 0)]]
    assert slices.expire(100 + 2 * GRACE) == []


def test_next_bar_of_an_instrument_ends_what_it_waited_in() -> None:
    slices = BarSlices(STOCKS, GRACE)
    slices.add(bar(0, 0), 0)
    assert told(slices.add(bar(0, 1), 1)) == [[(A, 0)]]


def test_late_bar_is_a_slice_of_its_own_and_flagged() -> None:
    slices = BarSlices(STOCKS, GRACE)
    slices.add(bar(0, 0), 0)
    slices.expire(GRACE)
    (late,) = slices.add(bar(1, 0), GRACE + 1)
    assert [each.quality for each in late] == [Quality.LATE]
    assert slices.dropped == 0


def test_bar_that_comes_again_is_dropped() -> None:
    slices = BarSlices(STOCKS, GRACE)
    slices.add(bar(0, 3), 0)
    assert slices.add(bar(0, 3), 0) == []
    assert slices.add(bar(0, 2), 0) == []
    assert slices.dropped == 2
    assert told(slices.expire(GRACE)) == [[(A, 3)]]


events = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 7), st.integers(0, 3_000_000_000)), max_size=60
)


@settings(max_examples=200, deadline=None)
@given(events)
def test_each_bar_once_and_in_order(events: list[tuple[int, int, int]]) -> None:
    """Against what is meant: the newest of each instrument goes on, once, in order of time."""
    slices = BarSlices(STOCKS, GRACE)
    now, out, taken, dropped = 0, [], [], 0
    newest = {each.id: -1 for each in STOCKS}
    began: dict[int, int] = {}
    for which, minute, wait in events:
        now += wait
        gone = slices.expire(now)
        for bars in gone:
            assert now >= began[bars[0].ts_close] + GRACE or any(
                now >= began[other[0].ts_close] + GRACE
                for other in gone
                if other[0].ts_close > bars[0].ts_close
            )
        out += gone
        given_ = bar(which, minute)
        came = slices.add(given_, now)
        if minute <= newest[given_.instrument]:
            dropped += 1
            assert came == []
        else:
            newest[given_.instrument] = minute
            taken.append(given_)
            began.setdefault(given_.ts_close, now)
        out += came
    out += slices.expire(2**62)
    assert slices.dropped == dropped
    flat = [each for bars in out for each in bars]
    key = [(each.instrument, each.ts_close) for each in flat]
    assert sorted(key) == sorted((each.instrument, each.ts_close) for each in taken)
    on_time = [bars for bars in out if not bars[0].quality & Quality.LATE]
    closes = [bars[0].ts_close for bars in on_time]
    assert closes == sorted(set(closes))
    for bars in out:
        assert len({each.ts_close for each in bars}) == 1
        assert len({each.instrument for each in bars}) == len(bars)
    for each in STOCKS:
        own = [one.ts_close for one in flat if one.instrument == each.id]
        assert own == sorted(own)
