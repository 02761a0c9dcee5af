from __future__ import annotations

import pytest

from onetape.marketdata.nearest import nearest_name


@pytest.mark.parametrize(
    ("name", "known", "remedy"),
    [
        ("APPL", ["AAPL", "MSFT"], "nearest: 'AAPL'"),
        ("aapl.xnas", ["MSFT.XNAS", "AAPL.XNAS"], "nearest: 'AAPL.XNAS'"),
        ("zzz", ["b", "a"], "there is: 'a', 'b'"),
        ("x", [], "there are none"),
        ("zzz", [f"n{i:02}" for i in range(12)], "and 2 more"),
    ],
)
def test_nearest_name_of_a_wrong_one_helps(name: str, known: list[str], remedy: str) -> None:
    assert remedy in nearest_name(name, known)
