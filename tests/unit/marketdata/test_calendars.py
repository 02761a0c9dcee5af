from __future__ import annotations

import csv
import sys

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.bars import IntArray
from onetape.marketdata.calendars import build_calendar
from tests.support.shared_data import SHARED, needs_shared


def days(*dates: str) -> IntArray:
    return np.array([from_iso(date) // NS_PER_DAY for date in dates])


def test_around_the_clock_is_midnight_to_midnight_of_its_zone() -> None:
    utc = build_calendar("24/7").bounds(days("2024-01-01"))
    york = build_calendar("24/7", "America/New_York").bounds(days("2024-03-10"))

    assert utc.opens.tolist() == [from_iso("2024-01-01")]
    assert utc.closes.tolist() == [from_iso("2024-01-02")]
    assert york.opens.tolist() == [from_iso("2024-03-10T05:00")]
    assert york.closes.tolist() == [from_iso("2024-03-11T04:00")]  # 23 hours long


def test_around_the_clock_day_without_a_midnight_is_not_known() -> None:
    calendar = build_calendar("24/7", "America/Sao_Paulo")

    assert calendar.bounds(days("2018-11-04", "2018-11-06")).known.tolist() == [False, True]


def test_fixed_hours_follow_the_clock_of_their_zone() -> None:
    calendar = build_calendar("hours:America/New_York:09:30-16:00")

    session = calendar.bounds(days("2024-03-08", "2024-03-11"))

    assert session.opens.tolist() == [from_iso("2024-03-08T14:30"), from_iso("2024-03-11T13:30")]
    assert session.closes.tolist() == [from_iso("2024-03-08T21:00"), from_iso("2024-03-11T20:00")]
    assert calendar.timezone == "America/New_York"
    assert calendar.session_days(0, 9) is None


def test_exchange_knows_holidays_and_early_closes() -> None:
    calendar = build_calendar("XNYS")

    session = calendar.bounds(days("2023-11-22", "2023-11-23", "2023-11-24", "2023-11-25"))

    assert session.known.tolist() == [True, False, True, False]
    assert session.closes[0] == from_iso("2023-11-22T21:00")
    assert session.closes[2] == from_iso("2023-11-24T18:00")
    assert calendar.timezone == "America/New_York"


@needs_shared
def test_exchange_sessions_are_those_of_the_recorded_calendar() -> None:
    with (SHARED / "calendars" / "xnys_sessions_1990_2023.csv").open() as file:
        rows = [row for row in csv.reader(file) if row[0]]
    sessions = days(*(row[0][:10] for row in rows))
    calendar = build_calendar("XNYS")

    known = calendar.session_days(int(sessions[0]), int(sessions[-1]))
    bounds = calendar.bounds(sessions)

    assert known is not None
    assert known.tolist() == sessions.tolist()
    assert bounds.opens.tolist() == [from_iso(row[1]) for row in rows]
    assert bounds.closes.tolist() == [from_iso(row[2]) for row in rows]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hours:America/New_York", "is not hours:ZONE:HH:MM-HH:MM"),
        ("hours:America/New_York:9:30-16:00", "is not hours:ZONE:HH:MM-HH:MM"),
        ("hours:America/New_York:16:00-09:30", "closes before it opens"),
        ("hours:America/Nw_York:09:30-16:00", "did you mean 'America/New_York'"),
        ("XNYSE", "calendar 'XNYSE' is unknown .*did you mean 'XNYS'"),
    ],
)
def test_build_calendar_wrong_name_is_refused_with_the_remedy(name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_calendar(name)


def test_exchange_before_its_records_is_refused() -> None:
    with pytest.raises(DataError, match="calendar 'XHKG'"):
        build_calendar("XHKG").bounds(days("1950-01-03"))


def test_exchange_without_the_extra_is_refused_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)

    with pytest.raises(DataError, match=r"pip install 'onetape\[calendars\]'"):
        build_calendar("XBOM")  # no other test loads it
