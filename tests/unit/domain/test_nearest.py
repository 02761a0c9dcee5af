from __future__ import annotations

import pytest

from onetape.domain.nearest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("name", "known", "remedy"),
    [
        ("APPL", ["AAPL", "MSFT"], "did you mean 'AAPL'?"),
        ("aapl.xnas", ["MSFT.XNAS", "AAPL.XNAS"], "did you mean 'AAPL.XNAS'?"),
        ("zzz", ["b", "a"], "known: b, a"),
        ("x", [], "known: none"),
        ("zzz", [f"n{i:02}" for i in range(12)], "and 2 more"),
    ],
)
def test_nearest_of_a_wrong_name_helps(name: str, known: list[str], remedy: str) -> None:
    assert remedy in nearest(name, known)


def test_did_you_mean_of_a_name_unlike_any_is_silent() -> None:
    assert did_you_mean("zzz", ["fast", "slow"]) == ""
    assert did_you_mean("fsat", ["fast", "slow"]) == "did you mean 'fast'?"
