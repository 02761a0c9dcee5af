"""How fast a run was, and why orders were denied: a line each."""

from __future__ import annotations

import msgspec
import pytest

from onetape.control.run_output import describe_denials, describe_speed
from onetape.domain.timestamps import NS_PER_DAY
from onetape.research.run_summary import DenialGroup
from onetape.runtime.run_monitor import Measurements

WHOLE = Measurements(
    first_row=0, rows=525_600, seconds=0.6, rows_per_second=876_000.4, sampled_rows=12_288,
    latency_p50_us=0.5, latency_p99_us=19.07, latency_max_us=5_393.4, strategy_ratio=0.1031,
    callbacks=[], memory_peak_mib=701.6, points=[],
)  # fmt: skip
NAN = float("nan")

LINES = [
    ({}, "876,000 rows/s, 10 % of the time in strategies, 99 % of events within 19.1 us, "
         "702 MiB at most"),
    ({"first_row": 4_096}, "876,000 rows/s from row 4,096 on, resumed, 10 % of the time in "
                           "strategies, 99 % of events within 19.1 us, 702 MiB at most"),
    ({"latency_p99_us": NAN, "strategy_ratio": NAN}, "876,000 rows/s, 702 MiB at most"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "line"), LINES)
def test_speed_is_told_in_one_line(changes: dict[str, float], line: str) -> None:
    assert describe_speed(msgspec.structs.replace(WHOLE, **changes)) == line


def make_group(code: str, count: int, day: int) -> DenialGroup:
    return DenialGroup(
        code=code, unit="bars", count=count, actual_min=0, actual_max=0, limit_min=1, limit_max=1,
        ts_first=day * NS_PER_DAY, ts_last=9 * NS_PER_DAY,
    )  # fmt: skip


def test_denials_are_told_by_reason_in_one_line() -> None:
    assert describe_denials([make_group("no_mark", 1_300, day=2), make_group("paused", 4, 1)]) == (
        "1,300 by no_mark, 4 by paused, from 1970-01-02 00:00 UTC on; the report has the numbers"
    )
    many = [make_group(f"reason_{number}", 1, number) for number in range(7)]
    assert "1 by reason_3, 3 by others, from" in describe_denials(many)
