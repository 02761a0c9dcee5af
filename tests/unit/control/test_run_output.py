"""How fast a run was, in one line."""

from __future__ import annotations

import msgspec
import pytest

from onetape.control.run_output import describe_speed
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
