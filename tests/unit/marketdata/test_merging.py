from __future__ import annotations

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.marketdata.bars import BarColumns, slice_rows
from onetape.marketdata.merging import check_adjustment, plan_addition, plan_replacement
from tests.unit.marketdata.csv_files import make_columns

STORED = slice_rows(make_columns(10), 2, 6)
"""Bars 2 to 5 of ten."""


def bars(start: int, stop: int, changed: tuple[int, ...] = ()) -> BarColumns:
    """Bars `start` to `stop` of the ten; those `changed` have another volume."""
    columns = make_columns(10)
    columns["volume"][list(changed)] += 1
    return slice_rows(columns, start, stop)


@pytest.mark.parametrize(
    ("start", "stop", "taken"),
    [(2, 6, []), (3, 5, []), (6, 8, [0, 1]), (0, 2, [0, 1]), (4, 8, [2, 3]), (0, 8, [0, 1, 6, 7])],
)
def test_plan_addition_takes_what_is_new(start: int, stop: int, taken: list[int]) -> None:
    new = bars(start, stop)

    plan = plan_addition(STORED, new, "f")

    assert plan.keep.all()
    assert np.flatnonzero(plan.take).tolist() == taken
    merged = plan.merge(STORED, new)
    assert merged["close"].tolist() == bars(min(start, 2), max(stop, 6))["close"].tolist()


def test_plan_addition_of_rows_that_differ_is_refused_with_their_span() -> None:
    with pytest.raises(
        DataError, match="2 rows from 2024-01-04T00:00:00Z to 2024-01-06T00:00:00Z differ"
    ):
        plan_addition(STORED, bars(0, 9, changed=(3, 5, 7)), "f")


@pytest.mark.parametrize(
    ("start", "stop", "kept"),
    [(2, 6, []), (0, 9, []), (4, 6, [2, 3]), (3, 4, [2, 4, 5]), (6, 9, [2, 3, 4, 5])],
)
def test_plan_replacement_keeps_what_lies_outside(start: int, stop: int, kept: list[int]) -> None:
    plan = plan_replacement(STORED, bars(start, stop))

    assert (np.flatnonzero(plan.keep) + 2).tolist() == kept
    assert plan.take.all()


@pytest.mark.parametrize(
    ("new", "replace", "stored_adjustment", "adjustment", "allowed"),
    [
        (bars(6, 9), False, "none", "none", True),
        (bars(6, 9), False, "none", "vendor", False),
        (bars(6, 9), False, "vendor", "vendor", False),  # nothing proves the same footing
        (bars(5, 9), False, "vendor", "vendor", True),
        (bars(5, 9), True, "vendor", "vendor", False),
        (bars(5, 9), True, "none", "none", True),
        (bars(2, 9), True, "none", "vendor", True),
    ],
)
def test_check_adjustment_lets_prices_stand_on_one_footing_only(
    new: BarColumns, replace: bool, stored_adjustment: str, adjustment: str, allowed: bool
) -> None:
    plan = plan_replacement(STORED, new) if replace else plan_addition(STORED, new, "f")

    if allowed:
        check_adjustment(plan, stored_adjustment, adjustment, "f")
        return
    with pytest.raises(DataError, match="nothing was written; replace with a file of the whole"):
        check_adjustment(plan, stored_adjustment, adjustment, "f")
