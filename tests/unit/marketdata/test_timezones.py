from __future__ import annotations

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.timezones import (
    check_timezone,
    local_to_utc,
    utc_to_local,
    utc_to_local_days,
)

NY = "America/New_York"


def test_check_timezone_unknown_is_refused_with_the_nearest() -> None:
    check_timezone(NY)
    check_timezone("UTC")

    with pytest.raises(DataError, match="did you mean 'America/New_York'"):
        check_timezone("America/NewYork")


@pytest.mark.parametrize(
    ("timezone", "local", "utc"),
    [
        ("UTC", "2024-03-10T02:30", "2024-03-10T02:30:00Z"),
        (NY, "2024-03-10T01:59", "2024-03-10T06:59:00Z"),
        (NY, "2024-03-10T03:00", "2024-03-10T07:00:00Z"),
        (NY, "2024-11-03T00:59", "2024-11-03T04:59:00Z"),
        (NY, "2024-11-03T02:00", "2024-11-03T07:00:00Z"),
        ("Asia/Kolkata", "2024-01-01T05:30", "2024-01-01T00:00:00Z"),
    ],
)
def test_local_to_utc_and_back_is_exact(timezone: str, local: str, utc: str) -> None:
    wall = np.array([from_iso(local)])

    moment, exists = local_to_utc(wall, timezone)

    assert (moment.tolist(), exists.tolist()) == ([from_iso(utc)], [True])
    assert utc_to_local(moment, timezone).tolist() == wall.tolist()
    assert utc_to_local_days(moment, timezone).tolist() == [from_iso(local[:10]) // NS_PER_DAY]


@pytest.mark.parametrize("local", ["2024-03-10T02:00", "2024-03-10T02:59", "2024-11-03T01:00"])
def test_local_to_utc_of_a_skipped_or_repeated_time_is_none(local: str) -> None:
    moment, exists = local_to_utc(np.array([from_iso(local)]), NY)

    assert (moment.tolist(), exists.tolist()) == ([0], [False])
