"""Sessions of four exchanges over twenty years, and bars around clock changes and early closes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from onetape.domain.timestamps import NS_PER_DAY, from_iso, to_iso
from onetape.marketdata.aggregation import aggregate
from onetape.marketdata.bar_rule import parse_bar_rule
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.pieces import trades_as_pieces

MINUTE = 60_000_000_000
FIRST, LAST = "2004-01-01", "2023-12-31"


@pytest.mark.parametrize(
    ("name", "sessions", "breaks"),
    [("XNYS", 5_033, 0), ("XLON", 5_052, 0), ("XTKS", 4_898, 4_898), ("XHKG", 4_932, 4_898)],
)
def test_sessions_of_twenty_years_are_those_of_exchange_calendars(
    name: str, sessions: int, breaks: int
) -> None:
    """Every date, open, close and break, read through the package's own methods one by one.

    Hong Kong's days without a break are its half days.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from exchange_calendars import get_calendar

        theirs = get_calendar(name, start=FIRST, end=LAST)
    ours = build_calendar(name)
    first, last = (from_iso(each) // NS_PER_DAY for each in (FIRST, LAST))
    days = ours.session_days(first, last)
    assert days is not None
    bounds, pauses = ours.bounds(days), ours.breaks(days)

    dates = [str(np.datetime64(int(day), "D")) for day in days]
    assert dates == [str(each.date()) for each in theirs.sessions]
    assert len(dates) == sessions
    assert bounds.known.all()
    assert bounds.opens.tolist() == theirs.opens_nanos.tolist()
    assert bounds.closes.tolist() == theirs.closes_nanos.tolist()
    assert int(pauses.known.sum()) == breaks
    at = np.flatnonzero(pauses.known)
    for row in (at[:: len(at) // 20 or 1] if breaks else at).tolist():
        begin, end = theirs.session_break_start_end(dates[row])
        assert pauses.opens[row] == begin.value
        assert pauses.closes[row] == end.value
    every = ours.bounds(np.arange(first, last + 1))
    assert int(every.known.sum()) == sessions


def prints_between(begin: str, end: str) -> dict[str, Any]:
    """A print each minute, one in the middle of it."""
    ts = np.arange(from_iso(begin), from_iso(end), MINUTE, dtype=np.int64) + MINUTE // 2
    price = np.arange(len(ts), dtype=np.float64) + 100
    return {"ts_event": ts, "price": price, "size": np.ones(len(ts))}


NY, TOKYO = "America/New_York", "Asia/Tokyo"

CASES = [
    # timeframe, calendar, zone, from, to (UTC): opens and closes of the bars, UTC
    ("1d", "XNYS", NY, "2024-03-07", "2024-03-13",  # clocks go forward on Sunday the 10th
     "07T14:30-07T21:00 08T14:30-08T21:00 11T13:30-11T20:00 12T13:30-12T20:00"),
    ("1d", "XNYS", NY, "2024-10-31", "2024-11-05",  # and back on Sunday the 3rd
     "31T13:30-31T20:00 01T13:30-01T20:00 04T14:30-04T21:00"),
    ("1h", "XNYS", NY, "2023-11-24", "2023-11-25",  # the day after Thanksgiving ends at 13:00
     "24T14:30-24T15:30 24T15:30-24T16:30 24T16:30-24T17:30 24T17:30-24T18:00"),
    ("1d", "XNYS", NY, "2023-07-03", "2023-07-06",  # early close, holiday, full day
     "03T13:30-03T17:00 05T13:30-05T20:00"),
    ("1w", "XNYS", NY, "2023-11-20", "2023-11-28",  # Monday's open to the early close of Friday
     "20T14:30-24T18:00"),
    ("4h", "XLON", "", "2024-03-28", "2024-04-03",  # Good Friday and Easter Monday; summer time
     "28T08:00-28T12:00 28T12:00-28T16:00 28T16:00-28T16:30 "
     "02T07:00-02T11:00 02T11:00-02T15:00 02T15:00-02T15:30"),
    ("1d", "XLON", "", "2023-12-22", "2023-12-28",  # half day before Christmas; Boxing Day
     "22T08:00-22T12:30 27T08:00-27T16:30"),
    ("1d", "XHKG", "", "2024-02-08", "2024-02-15",  # half day of the Lunar New Year
     "08T01:30-08T08:00 09T01:30-09T04:00 14T01:30-14T08:00"),
    ("1d", "XTKS", "", "2024-01-03", "2024-01-06",  # first session of the year is the 4th
     "04T00:00-04T06:00 05T00:00-05T06:00"),
    ("1d", "24/7", NY, "2024-03-09T05:00", "2024-03-12T04:01",  # a day of 23 hours
     "09T05:00-10T05:00 10T05:00-11T04:00 11T04:00-12T04:00"),
    ("1d", "24/7", NY, "2024-11-02T04:00", "2024-11-05T05:01",  # a day of 25 hours
     "02T04:00-03T04:00 03T04:00-04T05:00 04T05:00-05T05:00"),
    ("4h", "24/7", NY, "2024-03-10T05:00", "2024-03-11T04:01",  # by session: the last is shorter
     "10T05:00-10T09:00 10T09:00-10T13:00 10T13:00-10T17:00 10T17:00-10T21:00 10T21:00-11T01:00 "
     "11T01:00-11T04:00"),
    ("1d", "24/7", TOKYO, "2024-03-09T15:00", "2024-03-11T15:01",  # no clock changes
     "09T15:00-10T15:00 10T15:00-11T15:00"),
    ("1d", "hours:America/New_York:09:30-16:00", NY, "2024-03-08", "2024-03-09",
     "08T14:30-08T21:00"),
]  # fmt: skip


@pytest.mark.parametrize(("timeframe", "name", "zone", "begin", "end", "expected"), CASES)
def test_bars_around_clock_changes_and_early_closes(
    timeframe: str, name: str, zone: str, begin: str, end: str, expected: str
) -> None:
    """Hand-made from the exchanges' published holidays and hours and the zones' rules."""
    prints = prints_between(begin, end)
    rule = parse_bar_rule(timeframe, by_session=True)

    bars = aggregate(trades_as_pieces(prints, "p"), rule, build_calendar(name, zone)).columns

    spans = [
        f"{to_iso(int(opens))[8:16]}-{to_iso(int(closes))[8:16]}"
        for opens, closes in zip(bars["ts_open"], bars["ts_close"], strict=True)
    ]
    assert " ".join(spans) == expected
    for opens, closes, first, last in zip(
        *(bars[each].tolist() for each in ("ts_open", "ts_close", "open", "close")), strict=True
    ):
        inside = (prints["ts_event"] >= opens) & (prints["ts_event"] < closes)
        if timeframe == "1w":
            first_day = int(np.flatnonzero(prints["ts_event"] >= opens)[0])
            assert first == prints["price"][first_day]
            continue
        assert [first, last] == prints["price"][inside][[0, -1]].tolist()


def test_closing_auction_belongs_to_its_session_when_told() -> None:
    """A print five minutes after the close, as London's closing auction gives one."""
    times = ("08:00:01", "16:29:59", "16:35:12")
    ts = np.array([from_iso(f"2024-01-05T{each}Z") for each in times])
    prints = {"ts_event": ts, "price": np.array([1.0, 2.0, 3.0]), "size": np.ones(3)}
    rule, calendar = parse_bar_rule("1d"), build_calendar("XLON")
    pieces = trades_as_pieces({**prints, "ts_known": ts}, "p")

    without = aggregate(pieces, rule, calendar)
    with_auction = aggregate(pieces, rule, calendar, after_close_ns=6 * MINUTE)

    assert (without.columns["close"].tolist(), without.outside) == ([2.0], 1)
    # Over only when its extended session is: nothing here was known that late.
    assert (with_auction.columns["close"].tolist(), with_auction.unfinished) == ([], 3)
    later = {name: np.append(column, column[-1:] + MINUTE) for name, column in prints.items()}
    later["price"][-1] = 9.0
    later["ts_event"][-1] = from_iso("2024-01-05T16:36:00Z")
    finished = aggregate(trades_as_pieces(later, "p"), rule, calendar, after_close_ns=6 * MINUTE)
    assert (finished.columns["close"].tolist(), finished.outside) == ([3.0], 1)
    assert to_iso(int(finished.columns["ts_close"][0])) == "2024-01-05T16:36:00Z"
