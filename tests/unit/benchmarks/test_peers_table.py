"""The peers' table: what it calls equal, its ratios, and the books it compares engines with."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers.reference import CAPITAL, Books, run_crosses, run_flips, run_limits
from benchmarks.peers.runs import Row
from benchmarks.peers.table import COMPILED, make_table, make_targets, tell_ending


def make_row(key: str, **facts: object) -> Row:
    known = {"units": 1_000, "seconds": [9.0, 2.0, 1.0, 4.0], "timing": "next_open",
             "fills": 10, "equity": 99.5, "expected": (10, 99.5, 0)}  # fmt: skip
    return Row(key=key, **(known | facts))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({}, "= next open"),
        ({"equity": 99.5009}, "= next open"),
        ({"equity": 99.502}, "DIFFERS: +0 fills, +0.00200 from next open"),
        ({"fills": 11}, "DIFFERS: +1 fills, +0.00000 from next open"),
        ({"fills": 12, "expected": (10, 99.5, 1)}, "= next open, but 1 ties: +2 fills, +0.00000"),
        ({"fills": 13, "expected": (10, 99.5, 1)}, "DIFFERS: +3 fills, +0.00000 from next open"),
        (
            {"equity": 101.0, "expected": (10, 99.5, 1)},
            "DIFFERS: +0 fills, +1.50000 from next open",
        ),
    ],
)
def test_ending_beside_the_reference_tells_equal_from_different(
    facts: dict[str, object], told: str
) -> None:
    assert tell_ending(make_row("W1 vectorbt 1", **facts)) == told


def test_table_of_two_engines_gives_ratios_of_median_later_calls() -> None:
    ours = make_row(f"W1 {COMPILED}", seconds=[9.0, 0.5], simulate_seconds=[0.1, 0.1, 0.3])
    rows = {each.key: each for each in (ours, make_row("W1 vectorbt 1"))}
    line = next(each for each in make_table("W1", rows) if each.startswith("| vectorbt"))
    assert "| 4.0x | 20.0x |" in line


def test_table_of_an_engine_without_numbers_says_why() -> None:
    rows = {"W1 hftbacktest 1": Row(key="W1 hftbacktest 1", note="no bars")}
    assert any("no bars" in line for line in make_table("W1", rows))


def test_targets_of_missing_rows_are_not_measured_and_of_slow_ones_not_held() -> None:
    slow = make_row(f"W4 {COMPILED}", seconds=[1.0], simulate_seconds=[1.0])
    lines = make_targets({slow.key: slow})
    assert any("W4" in line and "**no**" in line for line in lines)
    assert any("W5" in line and "not measured" in line for line in lines)


def test_reference_of_a_cross_fills_at_the_next_open_and_at_the_close() -> None:
    close = np.concatenate([np.full(50, 100.0), [90.0, 130.0, 130.0, 20.0, 20.0]])
    market = {"close": close, "open": np.arange(100.0, 155.0)}
    books, ties = run_crosses(market, [(10, 50)])
    # Above after 130 (row 51), below after 20 (row 53).
    assert ties == 1
    assert books["close"] == [Books(2, CAPITAL - 110.15)]
    assert books["next_open"] == [Books(2, CAPITAL + 1.694)]


def test_reference_of_limits_fills_at_the_limit_or_the_better_open() -> None:
    market = {
        "open": np.array([10.0, 9.9, 10.0, 10.3]),
        "high": np.array([10.1, 10.0, 10.1, 10.4]),
        "low": np.array([9.9, 9.8, 9.9, 10.2]),
        "close": np.array([10.0, 9.95, 10.1, 10.3]),
    }
    # Bought at the open 9.9 (limit 9.92), sold at the limit 10.03, no purchase at 10.02.
    assert run_limits(market) == Books(2, pytest.approx(CAPITAL + 0.13 - 0.01993, rel=0, abs=1e-6))


def test_reference_of_flips_leaves_the_last_order_without_a_trade() -> None:
    market = {"price": np.concatenate([np.full(1_000, 10.0), [11.0], np.full(999, 12.0)])}
    books = run_flips(market)
    assert books["next_trade"] == Books(1, CAPITAL + 0.989)
    assert books["same_trade"] == Books(2, CAPITAL + 1.978)
