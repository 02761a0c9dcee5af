"""Corporate actions, funding and halts in the catalog: the rows that a file has come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import CorporateActionKind
from onetape.domain.timestamps import from_iso
from onetape.marketdata import records as records_module
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.corporate_actions import ActionRow, read_actions
from onetape.marketdata.delta_table import open_table
from onetape.marketdata.funding import FundingRow, read_funding
from onetape.marketdata.halts import read_halts
from onetape.marketdata.record_importer import import_records
from onetape.marketdata.record_kinds import RecordKind, complete_records
from onetape.marketdata.stored_events import EventRow, StoredEvents, to_columns
from tests.unit.marketdata.csv_files import write_csv

NOW = from_iso("2024-06-01")
A, B = InstrumentId("A.X"), InstrumentId("B.X")
KNOWN = [A, B]
ACTIONS = "instrument,kind,ex_date,ts,value,divisor,pay_date,new_instrument,cash,price,cost_ratio"
FUNDING = "instrument,ts,rate,mark"
HALTS = "instrument,ts,status,reason"
FILES: dict[RecordKind, tuple[str, list[str]]] = {
    RecordKind.CORPORATE_ACTIONS: (ACTIONS, [
        "A.X,split,2024-03-08,,7,2,,,,,",
        "A.X,cash_dividend,2024-03-08,,0.25,,2024-04-01,,,,",
        "B.X,spin_off,,2024-02-01T14:30:00.5Z,1,3,,A.X,,12.5,0.125",
        "B.X,merger,2024-05-01,,,,,A.X,53.75,,",
        "A.X,stock_dividend,2023-01-01,,0.03,,,,,,",
        "A.X,cash_dividend,2034-01-01,,0.1,,,,,,",
    ]),
    RecordKind.FUNDING: (FUNDING, [
        "A.X,2024-01-01T08:00:00Z,0.0001,101.5", "B.X,1704096000000,-0.0000000001,",
        "A.X,2024-01-01T00:00:00Z,0,",
    ]),
    RecordKind.HALTS: (HALTS, [
        "A.X,2024-01-02T15:00:00Z,resumed,", "A.X,2024-01-02T14:30:00Z,halted,LUDP",
        "B.X,1704096000000,halted,T1",
    ]),
}  # fmt: skip


def store(catalog: Catalog, kind: RecordKind, path: Path) -> None:
    for name, columns in import_records(path, kind, ts_now=NOW).items():
        catalog.records.write(kind, name, columns, source="s", ts_ingest=1)


def read_file(kind: RecordKind, path: Path) -> list[EventRow]:
    read = {RecordKind.CORPORATE_ACTIONS: read_actions, RecordKind.FUNDING: read_funding,
            RecordKind.HALTS: read_halts}[kind]  # fmt: skip
    return list(read(path, KNOWN))


def read_stored(catalog: Catalog, kind: RecordKind) -> list[EventRow]:
    stored = StoredEvents(catalog, kind, KNOWN, None)
    if kind is RecordKind.CORPORATE_ACTIONS:
        return list(stored.actions(KNOWN))
    return list(stored.funding() if kind is RecordKind.FUNDING else stored.halts())


def strip(rows: list[EventRow]) -> set[str]:
    return {repr(each).partition("instrument=")[2] for each in rows}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("as_parquet", [False, True])
def test_rows_of_a_file_come_back_from_the_catalog(
    kind: RecordKind, tmp_path: Path, *, as_parquet: bool
) -> None:
    header, rows = FILES[kind]
    path = write_csv(tmp_path, *rows, header=header)
    wanted = read_file(kind, path)
    if as_parquet:  # with the types that polars finds
        frame = pl.read_csv(path, try_parse_dates=True)
        path = tmp_path / "rows.parquet"
        if "ts" in frame.columns:
            frame = frame.with_columns(pl.col("ts").cast(pl.String))
        frame.write_parquet(path)
    catalog = Catalog(tmp_path / "data")
    for _ in range(2):  # the second time there is nothing new
        store(catalog, kind, path)
    found = read_stored(catalog, kind)
    assert strip(found) == strip(wanted)
    assert len(found) == len(wanted)
    assert catalog.records.newest() == 1  # one version for each instrument
    with pytest.raises(DataError, match=f"no {kind.value.replace('_', ' ')} of C.X"):
        StoredEvents(catalog, kind, [InstrumentId("C.X")], None)


numbers = st.decimals("0.00000001", "1000000", places=8).map(float)
days = st.integers(0, 40_000)
action_rows = st.builds(
    ActionRow,
    where=st.just(""),
    instrument=st.just(A),
    kind=st.sampled_from([CorporateActionKind.SPLIT, CorporateActionKind.CASH_DIVIDEND]),
    day=st.none() | days,
    ts=st.integers(0, 2**61),
    value=numbers,
    divisor=numbers,
    pay_day=st.none() | days,
    new_instrument=st.sampled_from([InstrumentId(""), B]),
    cash=st.just(0.0) | numbers,
    price=st.none() | numbers,
    cost_ratio=st.none() | numbers,
)
funding_rows = st.builds(
    FundingRow,
    where=st.just(""),
    instrument=st.just(A),
    ts=st.integers(0, 2**61),
    rate=st.floats(-0.089, 0.089),
    mark=st.just(0.0) | numbers,
)


@given(rows=st.lists(action_rows, min_size=1, max_size=6) | st.lists(funding_rows, min_size=1))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_rows_come_back_in_the_order_of_their_time(
    rows: list[EventRow], tmp_path_factory: pytest.TempPathFactory
) -> None:
    kind = RecordKind.FUNDING
    if isinstance(rows[0], ActionRow):
        kind = RecordKind.CORPORATE_ACTIONS
        rows = [ActionRow(**{**_fields(row), "ts": None if row.day is not None else row.ts})
                for row in rows if isinstance(row, ActionRow)]  # fmt: skip
    catalog = Catalog(tmp_path_factory.mktemp("any"))
    catalog.records.write(kind, A, to_columns(rows), source="s", ts_ingest=1)
    times = complete_records(kind, to_columns(rows), "")["ts_event"]
    assert (np.diff(times) >= 0).all()
    found = read_stored(catalog, kind)
    assert [strip([each]) for each in found] == [
        strip([each]) for each in sorted(rows, key=_time_of)
    ]


def _fields(row: ActionRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in row.__struct_fields__}


def _time_of(row: EventRow) -> int:
    day = row.day if isinstance(row, ActionRow) else None
    return (row.ts or 0) if day is None else day * 86_400_000_000_000


SHARES = "corporate_actions"


@pytest.mark.parametrize(
    ("kind", "header", "row", "message"),
    [
        (SHARES, ACTIONS, "A,split,2024-03-08,,7,2,,,,,", "is not SYMBOL.VENUE (line 2)"),
        (SHARES, ACTIONS, "A.X,splitt,2024-03-08,,7,2,,,,,", "kind 'splitt' is unknown"),
        (SHARES, ACTIONS, "A.X,split,2024-03-08,,x,2,,,,,", "'x' is not a number"),
        (SHARES, ACTIONS, "A.X,split,2024-3-8,,7,2,,,,,", "not an ISO 8601 date (line 2)"),
        (SHARES, ACTIONS, "A.X,split,,,7,2,,,,,", "neither of ex_date and ts (line 2)"),
        (SHARES, ACTIONS, "A.X,split,2024-03-08,,7,2", "number of fields"),
        (SHARES, "instrument,kind,ex_date,value",
         "A.X,split,2024-03-08,7\nA.X,split,2024-03-08,7", "in an earlier row (line 3)"),
        (SHARES, "instrument,kind,value", "A.X,split,7", "no column for 'ex_date' or 'ts'"),
        (SHARES, "instrument,ex_date,value", "A.X,2024-03-08,7", "no column for 'kind'"),
        ("funding", FUNDING, "A.X,2024-01-01,0.5,", "is not between -0.09 and 0.09"),
        ("funding", FUNDING, "A.X,2024-01-01,0.0001,-1", "mark -1 is not positive"),
        ("funding", FUNDING, "A.X,2024-07-01,0.0001,", "is known in the future (line 2)"),
        ("funding", FUNDING, "A.X,2024-01-01,0.1e-3,\nA.X,2024-01-01,0,", "earlier row (line 3)"),
        ("halts", HALTS, "A.X,2024-01-01,stopped,", "status 'stopped' is unknown"),
        ("halts", HALTS, "A.X,2024-01-01,resumed,", "was not halted (line 2)"),
    ],
)  # fmt: skip
def test_bad_row_refuses_the_file_with_its_line(
    tmp_path: Path, kind: str, header: str, row: str, message: str
) -> None:
    path = write_csv(tmp_path, *row.split("\n"), header=header)
    with pytest.raises(DataError) as refused:
        import_records(path, RecordKind(kind), ts_now=NOW)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("name", "dividend_payment", "name 'dividend_payment' can't be"),
        ("pay_date", "soon", "pay_date 'soon' can't be"),
        ("is_date", 2, "midnight in UTC"),
        ("ts_event", 1, "midnight in UTC"),
        ("value", np.nan, "value is not finite"),
    ],
)
def test_records_that_no_session_could_read_are_not_written(
    name: str, value: object, message: str
) -> None:
    row = ActionRow(where="", instrument=A, kind=CorporateActionKind.SPLIT, day=19_000, ts=None,
                    value=2.0, divisor=1.0)  # fmt: skip
    columns = to_columns([row])
    dtype = None if isinstance(value, str) else columns[name].dtype
    columns[name] = np.array([value], dtype)
    with pytest.raises(DataError, match=message):
        complete_records(RecordKind.CORPORATE_ACTIONS, columns, "here")


def test_table_of_an_older_onetape_grows_and_reads_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Funding had no mark, and there was none of the other columns."""
    catalog = Catalog(tmp_path / "data")
    older = {"ts_event": np.array([5]), "rate": np.array([1e-4])}
    make = records_module._make_frame  # pyright: ignore[reportPrivateUsage]
    gone = ["mark", "divisor", "cash", "cost_ratio", "pay_date", "new_instrument", "is_date"]
    with monkeypatch.context() as patch:
        patch.setattr(records_module, "_make_frame", lambda *given: make(*given).drop(gone))
        catalog.records.write(RecordKind.FUNDING, A, older, source="s", ts_ingest=1)
    table = open_table(catalog.records.path)
    assert table is not None
    assert not {each.name for each in table.schema().fields} & set(gone)
    assert np.isnan(catalog.records.read(RecordKind.FUNDING, A).columns["mark"]).all()

    again = catalog.records.write(RecordKind.FUNDING, A, older, source="s", ts_ingest=1)
    assert again.rows_written == 0
    newer = {"ts_event": np.array([9]), "rate": np.array([2e-4]), "mark": np.array([10.5])}
    catalog.records.write(RecordKind.FUNDING, A, newer, source="s", ts_ingest=1)
    for kind, (header, rows) in FILES.items():
        if kind is not RecordKind.FUNDING:
            store(catalog, kind, write_csv(tmp_path, *rows, header=header))
    found = StoredEvents(catalog, RecordKind.FUNDING, KNOWN, None).funding()
    assert [each.mark for each in found] == [0.0, 10.5]
    assert [each.rows for each in catalog.records.datasets()] == [4, 2, 2, 2, 1]
    assert len(StoredEvents(catalog, RecordKind.FUNDING, KNOWN, 0).funding()) == 1


def test_whole_file_takes_the_place_of_all_that_is_stored(tmp_path: Path) -> None:
    records = Catalog(tmp_path).records
    rates = {"ts_event": np.arange(4), "rate": np.full(4, 1e-4)}
    fewer = {name: column[1:3] for name, column in rates.items()}
    records.write(RecordKind.FUNDING, A, rates, source="s", ts_ingest=1)
    records.write(RecordKind.FUNDING, B, rates, source="s", ts_ingest=1)
    done = records.write(RecordKind.FUNDING, A, fewer, source="s", ts_ingest=1, whole=True)
    assert (done.rows_written, done.rows_removed) == (2, 4)
    assert records.read(RecordKind.FUNDING, A).columns["ts_event"].tolist() == [1, 2]
    assert len(records.read(RecordKind.FUNDING, B).columns["ts_event"]) == 4
    assert len(records.read(RecordKind.FUNDING, A, version=1).columns["ts_event"]) == 4
    done = records.write(RecordKind.FUNDING, A, fewer, source="s", ts_ingest=1, whole=True)
    assert done.rows_written == 0
