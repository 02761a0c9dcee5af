from __future__ import annotations

from decimal import Decimal

import pytest

from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND, from_iso
from onetape.research import report_format as text

HOUR = 3600 * NS_PER_SECOND
NAN = float("nan")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (text.percent(0.12345), "12.35 %"),
        (text.percent(-0.5), "−50.00 %"),
        (text.percent(-0.000001), "0.00 %"),
        (text.percent(NAN), "–"),
        (text.percent(12.5, 1), "1,250.0 %"),
        (text.ratio(-1.234), "−1.23"),
        (text.ratio(NAN), "–"),
        (text.ratio(1.5, "bps"), "1.50 bps"),
        (text.ratio(NAN, "bps"), "–"),
        (text.number(1234567.0), "1,234,567"),
        (text.number(0.000123456789), "0.000123457"),
        (text.number(12345678.9), "12,345,678.90"),
        (text.number(NAN), "–"),
        (text.money(Decimal("1234.5"), "USD"), "1,234.50 USD"),
        (text.money(Decimal("-0.00000001")), "−0.00000001"),
        (text.money(Decimal("0"), "USD"), "0.00 USD"),
        (text.money(None), "–"),
        (text.money(NAN, "USD"), "–"),
        (text.duration(None), "–"),
        (text.duration(53 * NS_PER_DAY + 10 * HOUR), "53 d 10 h"),
        (text.duration(1408 * NS_PER_DAY + 10 * HOUR), "1,408 d"),
        (text.duration(3 * HOUR + 20 * 60 * NS_PER_SECOND), "3 h 20 min"),
        (text.duration(3 * HOUR), "3 h"),
        (text.duration(5 * 60 * NS_PER_SECOND), "5 min"),
        (text.duration(12_500_000_000), "12.5 s"),
        (text.day(None), "–"),
        (text.day(from_iso("2024-02-29T23:59:59Z")), "2024-02-29"),
        (text.minute(from_iso("2024-02-29T23:59:59Z")), "2024-02-29 23:59"),
    ],
)
def test_value_reads_as_people_write_it(shown: str, expected: str) -> None:
    assert shown == expected
