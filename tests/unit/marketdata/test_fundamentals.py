from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.fundamentals import (
    Figure,
    join_fundamentals,
    pin_fundamentals,
    read_fundamentals,
)

AAPL = InstrumentId("AAPL.XNAS")
HEADER = "instrument,item,period_end,ts_known,value\n"

RESTATED = (
    HEADER
    + """\
AAPL.XNAS,eps,2023-03-31,2023-05-04T20:30:00Z,1.52
AAPL.XNAS,eps,2023-06-30,2023-08-03T20:30:00Z,1.26
AAPL.XNAS,eps,2022-12-31,2023-02-02T21:30:00Z,1.88
AAPL.XNAS,eps,2023-09-30,2023-11-02,1.46
AAPL.XNAS,eps,2023-06-30,2023-11-20T00:00:00Z,1.20
AAPL.XNAS,eps,2023-03-31,2023-12-01T00:00:00Z,
"""
)


def read(tmp_path: Path, text: str) -> list[Figure]:
    path = tmp_path / "figures.csv"
    path.write_text(text, encoding="utf-8")
    return read_fundamentals(path, {"AAPL.XNAS", "MSFT.XNAS"})


def test_figures_are_those_that_were_known_by_hand(tmp_path: Path) -> None:
    figures = read(tmp_path, RESTATED)
    times = {
        "2023-02-02T21:29:59Z": (math.nan, math.nan),
        "2023-02-02T21:30:00Z": (1.88, math.nan),
        "2023-08-04": (1.26, math.nan),
        "2023-11-02T23:59:59Z": (1.26, math.nan),  # a day alone: known when it is over
        "2023-11-03": (1.46, 1.88 + 1.52 + 1.26 + 1.46),
        "2023-11-20": (1.46, 1.88 + 1.52 + 1.20 + 1.46),  # restated, and not before
        "2023-12-01": (1.46, math.nan),  # withdrawn: three quarters are no year
    }
    found = join_fundamentals(figures, AAPL, np.array([from_iso(each) for each in times]))
    assert found["eps"].tolist() == pytest.approx([a for a, _ in times.values()], nan_ok=True)
    assert found["eps_ttm"].tolist() == pytest.approx([b for _, b in times.values()], nan_ok=True)
    other = join_fundamentals(figures, "MSFT.XNAS", np.array([from_iso("2024-01-01")]))
    assert np.isnan(other["eps"]).all()


def test_four_figures_with_a_gap_are_no_year(tmp_path: Path) -> None:
    text = HEADER + "".join(
        f"AAPL.XNAS,eps,{end},2024-06-01T00:00:00Z,1\n"
        for end in ("2022-12-31", "2023-03-31", "2023-06-30", "2023-12-31")
    )
    found = join_fundamentals(read(tmp_path, text), AAPL, np.array([from_iso("2024-07-01")]))
    assert found["eps"].tolist() == [1.0]
    assert np.isnan(found["eps_ttm"]).all()


rows = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 40), st.sampled_from([1.0, 2.0, math.nan])),
    max_size=12, unique_by=lambda each: each[:2],
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(rows)
def test_join_equals_the_naive_look_at_each_time(drawn: list[tuple[int, int, float]]) -> None:
    figures = sorted(
        (
            Figure(AAPL, "eps", quarter * 91 * NS_PER_DAY, day * NS_PER_DAY, value)
            for quarter, day, value in drawn
        ),
        key=lambda each: each.ts_known,
    )
    times = np.arange(0, 45) * NS_PER_DAY
    found = join_fundamentals(figures, AAPL, times)
    for at, ts in enumerate(times.tolist() if figures else []):
        known: dict[int, float] = {}
        for each in figures:
            if each.ts_known <= ts:
                known[each.period_end] = each.value
        left = {end: value for end, value in known.items() if value == value}
        newest = left[max(left)] if left else math.nan
        assert found["eps"][at] == pytest.approx(newest, nan_ok=True)
        year = sorted(left)[-4:]
        is_year = len(year) == 4 and year[-1] - year[0] == 3 * 91 * NS_PER_DAY
        total = sum(left[each] for each in year) if is_year else math.nan
        assert found["eps_ttm"][at] == pytest.approx(total, nan_ok=True)


def test_pin_changes_with_what_was_known_and_not_with_later_figures(tmp_path: Path) -> None:
    figures = read(tmp_path, RESTATED)
    end = from_iso("2023-11-20")
    (pin,) = pin_fundamentals(figures, [AAPL, "MSFT.XNAS"], end)
    assert (pin.rows, pin.timeframe) == (4, "fundamentals")
    assert pin_fundamentals(figures[:4], [AAPL], end) == (pin,)
    assert pin_fundamentals(figures[1:], [AAPL], end) != (pin,)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("APL.XNAS,eps,2023-03-31,2023-05-04,1", "did you mean 'AAPL.XNAS'"),
        ("AAPL.XNAS,close,2023-03-31,2023-05-04,1", "item 'close' can't be the name of a column"),
        ("AAPL.XNAS,e p s,2023-03-31,2023-05-04,1", "item 'e p s'"),
        ("AAPL.XNAS,eps,2023-03-31,2023-03-01,1", "known before its period is over"),
        ("AAPL.XNAS,eps,2023-03-31,2023-05-04,x", "value 'x' is no finite number"),
        ("AAPL.XNAS,eps,2023-03-31,2023-05-04,inf", "value 'inf' is no finite number"),
        ("AAPL.XNAS,eps,spring,2023-05-04,1", "period_end"),
        ("AAPL.XNAS,eps,2022-12-31,2023-02-02T21:30:00Z,2", "the same figure"),
    ],
)
def test_bad_row_is_one_error_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, RESTATED + line + "\n")
    assert said in str(caught.value)
    assert "figures.csv:8" in str(caught.value)


def test_bad_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"figures\.csv:1: column 'valu' is unknown"):
        read(tmp_path, HEADER.replace("value", "valu"))
    with pytest.raises(DataError, match=r"column 'ts_known' is missing"):
        read(tmp_path, HEADER.replace("ts_known,", ""))
    with pytest.raises(DataError, match="no such file of fundamentals"):
        read_fundamentals(tmp_path / "gone.csv", ())
