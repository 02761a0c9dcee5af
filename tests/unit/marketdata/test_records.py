from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError, TryAgain
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata import delta_table
from onetape.marketdata import records as records_module
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_kinds import RecordKind, shape_of, to_record_kind
from onetape.marketdata.records import Records, compute_records_hash

T0 = from_iso("2024-06-03T10:00:00Z")
HOUR = 3_600_000_000_000
SPY = "SPY.ARCX"


def prints(hours: list[int], price: float = 100.0) -> dict[str, Any]:
    ts = T0 + np.array(hours, dtype=np.int64) * HOUR
    return {"ts_event": ts, "price": price + np.arange(len(hours)), "size": np.ones(len(hours))}


def write(records: Records, columns: dict[str, Any], *, kind: RecordKind = RecordKind.TRADES,
          dataset: str = SPY, **options: Any) -> Any:  # fmt: skip
    return records.write(kind, dataset, columns, source="s", ts_ingest=T0, **options)


def read(records: Records, **options: Any) -> dict[str, Any]:
    return records.read(RecordKind.TRADES, SPY, **options).columns


SAMPLES: dict[RecordKind, dict[str, Any]] = {
    RecordKind.TRADES: prints([0, 0, 30]),
    RecordKind.QUOTES: {"ts_event": prints([0, 1])["ts_event"],
                        **{name: np.array([1.0, 2.0]) for name in ("bid", "bid_size", "ask_size")},
                        "ask": np.array([1.5, 2.5])},
    RecordKind.BOOK: {"ts_event": prints([0, 1])["ts_event"], "is_bid": np.array([1, 0]),
                      "price": np.array([1.0, 2.0]), "size": np.array([3.0, 4.0])},
    RecordKind.FUNDING: {"ts_event": prints([0, 8])["ts_event"], "rate": np.array([1e-4, -2e-4])},
    RecordKind.FUNDAMENTALS: {"ts_event": prints([0, 0])["ts_event"],
                              "ts_period": prints([0, 0])["ts_event"] - NS_PER_DAY,
                              "name": np.array(["eps", "shares"]), "value": np.array([1.2, 1e9])},
    RecordKind.MEMBERSHIP: {"ts_event": prints([0, 40])["ts_event"],
                            "name": np.array(["A.X", "A.X"]), "value": np.array([1.0, 0.0])},
    RecordKind.CORPORATE_ACTIONS: {
        "ts_event": prints([0, 0])["ts_event"], "is_date": np.array([0, 0]),
        "value": np.array([2.0, 0.5]), "divisor": np.array([1.0, 1.0]), "cash": np.zeros(2),
        "price": np.array([1.5, 2.5]), "cost_ratio": np.array([0.5, 0.25]),
        "name": np.array(["split", "cash_dividend"]), "new_instrument": np.array(["", ""]),
        "pay_date": np.array(["", "2024-02-01"])},
    RecordKind.HALTS: {"ts_event": prints([0, 1])["ts_event"], "value": np.array([1.0, 0.0]),
                       "name": np.array(["T1", ""])},
}  # fmt: skip


@pytest.mark.parametrize("kind", RecordKind)
def test_records_of_every_kind_come_back_as_they_went_in(kind: RecordKind, tmp_path: Path) -> None:
    records = Catalog(tmp_path).records
    write(records, SAMPLES[kind], kind=kind)

    stored = records.read(kind, SPY)

    assert stored.version == 0
    assert list(stored.columns) == list(shape_of(kind).columns)
    for name, column in SAMPLES[kind].items():
        assert stored.columns[name].tolist() == column.tolist(), name
    assert stored.columns["ts_known"].tolist() == SAMPLES[kind]["ts_event"].tolist()
    assert stored.columns["quality"].tolist() == [0] * len(SAMPLES[kind]["ts_event"])
    (dataset,) = records.datasets()
    assert (dataset.kind, dataset.dataset, dataset.rows) == (
        kind.value,
        SPY,
        len(stored.columns["quality"]),
    )
    assert compute_records_hash(stored.columns) == compute_records_hash(
        records.read(kind, SPY).columns
    )


def test_rows_that_are_there_stay_and_new_ones_join(tmp_path: Path) -> None:
    records = Records(tmp_path)
    whole = prints([0, 1, 1, 2, 30, 31])
    write(records, {name: column[:4] for name, column in whole.items()})

    joined = write(records, {name: column[1:] for name, column in whole.items()})
    again = write(records, whole)

    assert (joined.rows_written, joined.rows_removed, joined.version) == (2, 0, 1)
    assert (again.rows_written, again.version) == (0, 1)
    assert read(records)["price"].tolist() == whole["price"].tolist()


def test_correction_is_a_new_version_and_the_old_one_stays(tmp_path: Path) -> None:
    records = Records(tmp_path)
    write(records, prints([0, 1, 2]))
    before = compute_records_hash(read(records))
    with pytest.raises(DataError, match=r"from 2024-06-03T11.* differ .*replace"):
        write(records, prints([1, 2], price=500.0))

    done = write(records, prints([1, 2], price=500.0), replace=True)

    assert (done.rows_written, done.rows_removed) == (2, 2)
    assert read(records)["price"].tolist() == [100.0, 500.0, 501.0]
    assert compute_records_hash(read(records, version=0)) == before


def test_reading_a_time_takes_its_days_only_and_streams_a_day_at_a_time(tmp_path: Path) -> None:
    records = Records(tmp_path)
    hours = list(range(0, 100, 7))
    write(records, prints(hours))

    part = read(records, ts_start=T0 + 20 * HOUR, ts_end=T0 + 49 * HOUR)
    days = list(
        records.stream(RecordKind.TRADES, SPY, ts_start=T0 + 20 * HOUR, ts_end=T0 + 49 * HOUR)
    )

    assert ((part["ts_event"] - T0) // HOUR).tolist() == [21, 28, 35, 42]
    assert [((each["ts_event"] - T0) // HOUR).tolist() for each in days] == [[21, 28, 35], [42]]
    assert len(list(records.stream(RecordKind.TRADES, SPY))) == 5


@pytest.mark.parametrize(
    ("kind", "columns", "message"),
    [
        (RecordKind.TRADES, {"prize": np.ones(1)}, "trades have no column 'prize'.*'price'"),
        (RecordKind.TRADES, prints([]), "no records to write"),
        (RecordKind.TRADES, prints([2, 1]), "before the one before it"),
        (RecordKind.TRADES, {**prints([1]), "quality": np.ones(1)}, "'quality' is not int64"),
        (RecordKind.FUNDING, {"ts_event": np.array([1]), "rate": np.array([np.nan])}, "not finite"),
        (RecordKind.FUNDING, {"ts_event": np.array([1])}, "'rate' is not float64"),
        (RecordKind.FUNDING, {"ts_event": np.array([2]), "ts_known": np.array([1]),
                              "rate": np.array([0.1])}, "known before it happened"),
        (RecordKind.MEMBERSHIP, {"ts_event": np.array([1]), "name": np.array(["A"]),
                                 "value": np.array([0.5])}, "neither 1"),
    ],
)  # fmt: skip
def test_records_that_can_not_be_are_refused(
    kind: RecordKind, columns: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        write(Records(tmp_path), columns, kind=kind)
    assert not (tmp_path / "records").exists()


def test_unknown_datasets_and_kinds_are_refused_with_the_nearest(tmp_path: Path) -> None:
    records = Records(tmp_path)
    with pytest.raises(DataError, match="no records in this catalog"):
        read(records)
    assert records.datasets() == ()
    write(records, prints([0]), dataset="SPY.ARCA")
    with pytest.raises(DataError, match=r"did you mean 'SPY.ARCA trades'"):
        read(records)
    with pytest.raises(DataError, match="did you mean 'quotes'"):
        to_record_kind("quote")


def test_write_that_is_raced_is_done_again_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, commit = Records(tmp_path), records_module.commit
    write(records, prints([0]))
    races = [prints([5]), prints([7])]

    def commit_after_another(*arguments: Any, **options: Any) -> None:
        if races:
            monkeypatch.setattr(records_module, "commit", commit)
            write(records, races.pop(0))
            monkeypatch.setattr(records_module, "commit", commit_after_another)
        commit(*arguments, **options)

    monkeypatch.setattr(records_module, "commit", commit_after_another)
    write(records, prints([6]))
    assert ((read(records)["ts_event"] - T0) // HOUR).tolist() == [0, 5, 6, 7]

    def always_late(*arguments: Any, **options: Any) -> None:
        raise TryAgain("raced")

    monkeypatch.setattr(records_module, "commit", always_late)
    monkeypatch.setattr(delta_table, "_WAIT_S", 0.0)
    with pytest.raises(TryAgain):
        write(records, prints([9]))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6), st.booleans()), max_size=6))
@settings(max_examples=12, deadline=None)
def test_any_row_of_writes_leaves_what_a_list_would_hold(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, int, bool]]
) -> None:
    records = Records(tmp_path_factory.mktemp("records"))
    held: dict[int, float] = {}
    states: list[dict[int, float]] = []
    for number, (first, count, replace) in enumerate(writes):
        hours = list(range(first, first + count))
        columns = prints(hours, price=100.0 + 10 * (number % 2))
        new = dict(zip(hours, columns["price"].tolist(), strict=True))
        stored = [each for each in sorted(held) if first <= each < first + count]
        shared = {each: new[each] for each in hours if stored and stored[0] <= each <= stored[-1]}
        same = shared == {each: held[each] for each in stored}
        if not same and not replace:
            with pytest.raises(DataError, match="differ"):
                write(records, columns)
            continue
        held = {**{k: v for k, v in held.items() if same or not first <= k < first + count}, **new}
        before = len(states)
        outcome = write(records, columns, replace=replace)
        if outcome.rows_written:
            states.append(dict(held))
            assert outcome.version == before
    for version, state in enumerate(states):
        columns = read(records, version=version)
        found = dict(
            zip(
                ((columns["ts_event"] - T0) // HOUR).tolist(),
                columns["price"].tolist(),
                strict=True,
            )
        )
        assert found == dict(sorted(state.items()))
