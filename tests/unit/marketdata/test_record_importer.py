from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.domain.timestamps import from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_importer import import_records
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.universe import Universe
from tests.unit.marketdata.csv_files import write_csv

NOW = from_iso("2024-06-01")
MEMBERS = "universe,instrument,date,value"
FIGURES = "instrument,item,period_end,ts_known,value"


def test_members_of_several_universes_come_from_one_file(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path, "BIG,B.X,2024-02-01,in", "BIG,A.X,2024-01-01,in", "TECH,A.X,2024-01-01,1",
        "BIG,B.X,2024-03-01,out", header=MEMBERS,
    )  # fmt: skip
    records = Catalog(tmp_path / "data").records
    for name, columns in import_records(path, RecordKind.MEMBERSHIP, ts_now=NOW).items():
        records.write(RecordKind.MEMBERSHIP, name, columns, source="s", ts_ingest=1)
    big = Universe(Catalog(tmp_path / "data"), "BIG")
    assert big.members_at(from_iso("2024-02-01") - 1) == ("A.X",)
    assert big.members_at(from_iso("2024-02-01")) == ("A.X", "B.X")
    assert big.members_at(from_iso("2024-03-01")) == ("A.X",)
    assert Universe(Catalog(tmp_path / "data"), "TECH").members_at(NOW) == ("A.X",)


def test_member_is_known_when_it_was_told_and_never_before_it_is_one(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path, "BIG,A.X,2024-02-01T00:00:00Z,2024-02-03T12:00:00Z,in",
        "BIG,B.X,2024-02-01,2024-01-20T12:00:00Z,in",
        header="universe,instrument,ts,ts_known,value",
    )  # fmt: skip
    (columns,) = import_records(path, RecordKind.MEMBERSHIP, ts_now=NOW).values()
    known = dict(zip(columns["name"].tolist(), columns["ts_known"].tolist(), strict=True))
    assert known == {"A.X": from_iso("2024-02-03T12:00:00Z"), "B.X": from_iso("2024-02-01")}


def test_figures_are_known_when_their_day_is_over_and_may_be_withdrawn(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path, "A.X,eps,2023-12-31,2024-02-01,1.5", "A.X,shares,2023-12-31,2024-02-01,1e6",
        "A.X,eps,2023-12-31,2024-03-01,", header=FIGURES,
    )  # fmt: skip
    (columns,) = import_records(path, RecordKind.FUNDAMENTALS, ts_now=NOW).values()
    assert columns["ts_known"].tolist() == [
        *[from_iso("2024-02-02")] * 2, from_iso("2024-03-02")
    ]  # fmt: skip
    assert columns["name"].tolist() == ["eps", "shares", "eps"]
    assert np.array_equal(columns["value"], [1.5, 1e6, np.nan], equal_nan=True)
    records = Catalog(tmp_path / "data").records
    for _ in range(2):
        done = records.write(RecordKind.FUNDAMENTALS, "A.X", columns, source="s", ts_ingest=1)
    assert (done.version, done.rows_written) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "header", "row", "message"),
    [
        ("membership", MEMBERS, "BIG,A,2024-01-01,in", "instrument is not SYMBOL.VENUE (line 2)"),
        ("membership", MEMBERS, "BIG,A.X,2024-01-01,yes", "value is neither in nor out (line 2)"),
        ("membership", MEMBERS, ",A.X,2024-01-01,in", "universe is empty (line 2)"),
        ("membership", MEMBERS, "BIG,A.X,soon,in", "date can't be read as a time (line 2)"),
        ("membership", MEMBERS, "BIG,A.X,2024-07-01,in", "is known in the future (line 2)"),
        ("membership", MEMBERS, "BIG,A.X,2024-01-01", "number of fields"),
        ("membership", MEMBERS, "BIG,A.X,2024-01-01,in\nBIG,A.X,2024-01-01,out",
         "the same stands in an earlier row (line 3)"),
        ("fundamentals", FIGURES, "A.X,eps,2024-03-31,2024-03-01,1", "before its period is over"),
        ("fundamentals", FIGURES, "A.X,eps,2023-12-31,2024-03-01,x", "value is not a number"),
        ("fundamentals", FIGURES, "A.X,eps,2023-12-31,2024-03-01,1e999", "value is infinite"),
        ("fundamentals", "instrument,item,value", "A.X,eps,1", "no column for 'period_end'"),
    ],
)  # fmt: skip
def test_bad_row_refuses_the_file_with_its_line(
    tmp_path: Path, kind: str, header: str, row: str, message: str
) -> None:
    path = write_csv(tmp_path, *row.split("\n"), header=header)
    with pytest.raises(DataError) as refused:
        import_records(path, RecordKind(kind), ts_now=NOW)
    assert message in str(refused.value)
