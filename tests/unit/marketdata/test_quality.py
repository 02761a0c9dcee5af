from __future__ import annotations

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.marketdata.bars import FloatArray
from onetape.marketdata.quality import (
    Repair,
    RowFaults,
    find_order_faults,
    find_price_faults,
    to_repair,
    widen_for_rounding,
)

NAN, INF = float("nan"), float("inf")


def make_faults(rows: int) -> RowFaults:
    """Rows that stand in lines 2, 3, ... of a file called f.csv."""
    return RowFaults(np.arange(2, rows + 2), "line", "f.csv")


def test_to_repair_unknown_name_is_refused_with_the_nearest() -> None:
    assert to_repair("drop-bad") is Repair.DROP_BAD

    with pytest.raises(DataError, match="did you mean 'drop-duplicates'"):
        to_repair("drop-duplicate")


@pytest.mark.parametrize(
    #  open   high   low   close  volume  fault
    ("values", "fault"),
    [
        ((10.0, 12.0, 9.0, 11.0, 100.0), ""),
        ((10.0, 10.0, 10.0, 10.0, 0.0), ""),
        ((NAN, 12.0, 9.0, 11.0, 100.0), "open is not a number"),
        ((10.0, INF, 9.0, 11.0, 100.0), "high is infinite"),
        ((10.0, 12.0, 0.0, 11.0, 100.0), "low is not positive"),
        ((10.0, 12.0, 9.0, -11.0, 100.0), "close is not positive"),
        ((10.0, 12.0, 9.0, 11.0, NAN), "volume is not a number"),
        ((10.0, 12.0, 9.0, 11.0, INF), "volume is not a number"),
        ((10.0, 12.0, 9.0, 11.0, -1.0), "volume is negative"),
        ((10.0, 9.0, 12.0, 11.0, 100.0), "high is below low"),
        ((13.0, 12.0, 9.0, 11.0, 100.0), "open is outside low to high"),
        ((10.0, 12.0, 9.0, 8.0, 100.0), "close is outside low to high"),
    ],
)
def test_find_price_faults_each_impossible_bar_has_its_fault(
    values: tuple[float, ...], fault: str
) -> None:
    columns = [np.array([value]) for value in values]
    prices: dict[str, FloatArray] = dict(
        zip(("open", "high", "low", "close"), columns, strict=False)
    )
    faults = make_faults(1)

    find_price_faults(faults, prices, columns[4])

    assert [each.what for each in faults.found] == ([fault] if fault else [])


@pytest.mark.parametrize(
    ("times", "repeated", "backwards"),
    [
        ([1, 2, 3], [], []),
        ([1, 3, 2], [], [2]),
        ([1, 1, 2], [1], []),
        ([3, 2, 1], [], [1, 2]),
        ([1, 5, 1, 2], [2], [3]),
        ([2, 1, 2, 1], [2, 3], [1]),
    ],
)
def test_find_order_faults_names_repetitions_and_steps_back(
    times: list[int], repeated: list[int], backwards: list[int]
) -> None:
    faults = make_faults(len(times))

    find_order_faults(faults, np.array(times))

    assert faults.rows(Repair.DROP_DUPLICATES).tolist() == repeated
    assert faults.rows(Repair.SORT).tolist() == backwards


def test_find_order_faults_bad_rows_are_left_aside() -> None:
    faults = make_faults(3)
    faults.add("bad", np.array([False, True, False]))

    find_order_faults(faults, np.array([1, 99, 2]))

    assert [each.what for each in faults.found] == ["bad"]


def test_row_faults_record_counts_once_with_its_first_fault() -> None:
    faults = make_faults(3)
    faults.add("first", np.array([True, False, False]))
    faults.add("second", np.array([True, True, False]))

    with pytest.raises(DataError, match=r"2 bad rows.*first \(line 2\); second \(line 3\)"):
        faults.refuse_unless(())


def test_row_faults_long_list_names_ten_places_and_the_count() -> None:
    faults = make_faults(15)
    faults.add("what", np.ones(15, dtype=np.bool_))

    with pytest.raises(DataError) as caught:
        faults.refuse_unless(())

    assert str(caught.value) == (
        "f.csv: 15 bad rows, nothing imported: what (lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 "
        "and 5 more) (correct the file, or allow the repair drop-bad)"
    )


def test_row_faults_allowed_repair_is_not_refused_but_others_are() -> None:
    faults = make_faults(2)
    faults.add("bad", np.array([True, False]))
    faults.add("early", np.array([False, True]), Repair.SORT)

    faults.refuse_unless({Repair.DROP_BAD, Repair.SORT})
    with pytest.raises(DataError, match=r"1 bad row, .*early \(line 3\).*repair sort\)"):
        faults.refuse_unless({Repair.DROP_BAD})


def test_row_faults_with_nothing_left_are_refused_whatever_is_allowed() -> None:
    faults = make_faults(1)
    faults.refuse_when_all_bad()
    faults.add("bad", np.array([True]))

    with pytest.raises(DataError, match="no row can be used"):
        faults.refuse_when_all_bad()


def test_widen_for_rounding_holds_open_and_close_only_where_a_rounding_is_all() -> None:
    one_ulp = np.nextafter(10.0, 11.0)
    prices: dict[str, FloatArray] = {
        "open": np.array([10.0, one_ulp, 10.0, 10.0]),
        "high": np.array([11.0, 10.0, 11.0, 11.0]),
        "low": np.array([9.0, 9.0, one_ulp, 10.01]),
        "close": np.array([10.5, 10.0, 11.0, 10.5]),
    }

    widened = widen_for_rounding(prices)

    assert widened.tolist() == [False, True, True, False]
    assert prices["high"].tolist() == [11.0, one_ulp, 11.0, 11.0]
    assert prices["low"].tolist() == [9.0, 9.0, 10.0, 10.01]
