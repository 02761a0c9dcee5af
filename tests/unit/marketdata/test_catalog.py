from __future__ import annotations

import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from onetape.domain.errors import DataError, TryAgain
from onetape.domain.instrument import (
    FutureTerms,
    Instrument,
    InstrumentId,
    InstrumentKind,
    make_equity,
)
from onetape.domain.market import Quality
from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.marketdata import catalog as catalog_module
from onetape.marketdata import delta_table
from onetape.marketdata.bars import BAR_COLUMNS, BarColumns, compute_content_hash, slice_rows
from onetape.marketdata.catalog import Catalog, WriteOutcome
from onetape.marketdata.delta_table import commit
from tests.unit.marketdata.csv_files import BTC, SPY, make_columns

TS = from_iso("2024-06-01")
BARS = make_columns(10)


def write(
    catalog: Catalog,
    columns: BarColumns = BARS,
    *,
    instrument: str = SPY.id,
    timeframe: str = "1d",
    **options: Any,
) -> WriteOutcome:
    facts = {"source": "f.csv", "adjustment": "none", "ts_ingest": TS, **options}
    return catalog.write_bars(InstrumentId(instrument), timeframe, columns, **facts)


def assert_same(columns: BarColumns, expected: BarColumns) -> None:
    assert list(columns) == list(BAR_COLUMNS)
    for name in BAR_COLUMNS:
        assert columns[name].dtype == expected[name].dtype
        assert columns[name].tolist() == expected[name].tolist()


def test_catalog_that_does_not_exist_is_empty_and_refuses_reading(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path / "catalog")

    assert (catalog.datasets(), catalog.instruments()) == ((), {})
    with pytest.raises(DataError, match=r"there is no catalog .*onetape data import"):
        catalog.read_bars("A.B", "1d")
    assert not (tmp_path / "catalog").exists()


FUTURE = Instrument(
    id=InstrumentId("ESZ4.XCME"),
    kind=InstrumentKind.FUTURE,
    quote_currency="USD",
    tick_size=Decimal("0.25"),
    lot_size=Decimal(1),
    multiplier=Decimal(50),
    max_lots=1000,
    terms=FutureTerms(underlying="ES", ts_expiry=TS),
)


def test_instruments_come_back_as_they_were_written(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)

    for instrument in (SPY, BTC, FUTURE):
        assert catalog.write_instrument(instrument)

    assert catalog.instruments() == {each.id: each for each in (BTC, FUTURE, SPY)}
    assert catalog.instrument("ESZ4.XCME") == FUTURE


def test_write_instrument_again_does_nothing_and_a_change_needs_replace(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    finer = make_equity(SPY.id, tick_size="0.001", calendar=SPY.calendar)
    catalog.write_instrument(SPY)

    assert not catalog.write_instrument(SPY)
    with pytest.raises(DataError, match=r"tick_size 0.01 would become 0.001"):
        catalog.write_instrument(finer)
    assert catalog.instrument(SPY.id) == SPY
    assert catalog.write_instrument(finer, replace=True)
    assert catalog.instrument(SPY.id) == finer


def test_instrument_unknown_is_refused_with_the_nearest(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    catalog.write_instrument(SPY)

    with pytest.raises(DataError, match=r"'SPYY.ARCX' is not in the catalog .*'SPY.ARCX'"):
        catalog.instrument("SPYY.ARCX")


def test_instruments_of_another_shape_are_refused(tmp_path: Path) -> None:
    odd = pl.DataFrame({"instrument": ["A.B"], "definition": ['{"id": "A.B", "kind": "house"}']})
    commit(tmp_path / "instruments", None, odd)

    with pytest.raises(DataError, match=r"a definition can't be read: .*\$\.kind.*newer onetape"):
        Catalog(tmp_path).instruments()


def test_write_bars_then_read_gives_the_same_bits(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    bars = {**BARS, "close": BARS["close"] + np.pi * 1e-13, "quality": np.arange(10) % 4}

    outcome = write(catalog, bars)

    assert outcome == WriteOutcome(
        version=0,
        content_hash=compute_content_hash(bars),
        rows=10,
        rows_written=10,
        rows_removed=0,
    )
    assert_same(catalog.read_bars(SPY.id, "1d"), bars)


def test_write_bars_again_is_no_new_version(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    first = write(catalog)

    for part in (BARS, slice_rows(BARS, 3, 7)):
        again = write(catalog, part, source="other.csv")
        assert again.unchanged
        assert (again.version, again.content_hash, again.rows) == (0, first.content_hash, 10)
    assert write(catalog, slice_rows(BARS, 3, 7), replace=True).unchanged
    assert len(list((tmp_path / "bars" / "_delta_log").glob("*.json"))) == 1


def test_write_bars_more_rows_are_added_and_old_versions_stay(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    write(catalog, slice_rows(BARS, 3, 5))
    later = write(catalog, slice_rows(BARS, 4, 10))
    earlier = write(catalog, slice_rows(BARS, 0, 3))

    assert (later.rows_written, later.rows, later.version) == (5, 7, 1)
    assert (earlier.rows_written, earlier.rows, earlier.version) == (3, 10, 2)
    assert earlier.content_hash == compute_content_hash(BARS)
    for version, (start, stop) in enumerate([(3, 5), (3, 10), (0, 10)]):
        part = slice_rows(BARS, start, stop)
        assert_same(catalog.read_bars(SPY.id, "1d", version=version), part)


def test_write_bars_that_differ_need_replace_and_leave_the_rest(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    changed = make_columns(10, price=200.0)
    write(catalog)

    with pytest.raises(DataError, match="3 rows from 2024-01-05T00:00:00Z to 2024-01-07T00:00:00Z"):
        write(catalog, slice_rows(changed, 4, 7))
    assert_same(catalog.read_bars(SPY.id, "1d"), BARS)
    outcome = write(catalog, slice_rows(changed, 4, 7), replace=True)

    expected = {
        name: np.concatenate([BARS[name][:4], changed[name][4:7], BARS[name][7:]])
        for name in BAR_COLUMNS
    }
    assert (outcome.rows_written, outcome.rows_removed, outcome.rows) == (3, 3, 10)
    assert_same(catalog.read_bars(SPY.id, "1d"), expected)
    assert outcome.content_hash == compute_content_hash(expected)
    assert_same(catalog.read_bars(SPY.id, "1d", version=0), BARS)


def test_write_bars_that_overlap_stored_ones_are_refused(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    write(catalog)
    shifted = {name: column.copy() for name, column in BARS.items()}
    for name in ("ts_open", "ts_close", "ts_known", "session_close"):
        shifted[name] += NS_PER_SECOND

    with pytest.raises(DataError, match="with the stored rows row 1: bar that starts before the"):
        write(catalog, shifted)


def test_write_bars_of_another_adjustment_are_refused_beside_stored_ones(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    write(catalog, slice_rows(BARS, 0, 5))

    with pytest.raises(DataError, match="adjustment 'none', the new ones 'vendor'"):
        write(catalog, slice_rows(BARS, 5, 10), adjustment="vendor")
    outcome = write(catalog, slice_rows(BARS, 0, 5), adjustment="vendor", replace=True)

    assert not outcome.unchanged
    assert catalog.datasets()[0].adjustment == "vendor"


def test_write_bars_that_are_no_bars_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are no bars to write"):
        write(Catalog(tmp_path), slice_rows(BARS, 0, 0))
    with pytest.raises(DataError, match=r"SPY.ARCX 1d row 1: bar that starts before"):
        write(Catalog(tmp_path), {name: column[::-1] for name, column in BARS.items()})
    assert not (tmp_path / "bars").exists()


def test_write_bars_with_definition_writes_both_or_neither(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    finer = make_equity(SPY.id, tick_size="0.001", calendar=SPY.calendar)
    write(catalog, definition=SPY)

    with pytest.raises(DataError, match="is defined differently"):
        write(catalog, make_columns(20), definition=finer)
    with pytest.raises(DataError, match="differ from those in the catalog"):
        write(catalog, make_columns(10, price=200.0), definition=finer)

    assert catalog.instrument(SPY.id) == SPY
    assert_same(catalog.read_bars(SPY.id, "1d"), BARS)
    assert write(catalog, definition=finer, replace=True).unchanged
    assert catalog.instrument(SPY.id) == finer


def test_write_bars_that_is_raced_plans_anew_on_what_the_other_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Catalog(tmp_path)
    write(catalog, slice_rows(BARS, 0, 5))
    hash_of = catalog_module.compute_content_hash

    def hash_while_another_writes(columns: BarColumns) -> str:
        monkeypatch.setattr(catalog_module, "compute_content_hash", hash_of)
        write(Catalog(tmp_path), slice_rows(BARS, 5, 10))
        return hash_of(columns)

    monkeypatch.setattr(catalog_module, "compute_content_hash", hash_while_another_writes)
    assert write(catalog, slice_rows(BARS, 5, 10)).unchanged

    assert_same(catalog.read_bars(SPY.id, "1d"), BARS)


def test_write_bars_that_is_always_raced_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_late(*arguments: Any, **options: Any) -> None:
        raise TryAgain("raced")

    monkeypatch.setattr(catalog_module, "commit", be_late)
    monkeypatch.setattr(delta_table, "_WAIT_S", 0.0)
    with pytest.raises(TryAgain):
        write(Catalog(tmp_path))


def test_datasets_list_what_there_is_and_a_version_of_their_own(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    write(catalog, slice_rows(BARS, 0, 5))
    write(catalog, instrument=BTC.id, source="b.csv", adjustment="vendor", ts_ingest=1)
    write(catalog, make_columns(3, step=60 * NS_PER_SECOND), timeframe="1m")
    write(catalog, source="g.csv")

    facts = [
        (each.instrument, each.timeframe, each.rows, each.version, each.source, each.adjustment)
        for each in catalog.datasets()
    ]

    assert facts == [
        (BTC.id, "1d", 10, 1, "b.csv", "vendor"),
        (SPY.id, "1d", 10, 3, "g.csv", "none"),
        (SPY.id, "1m", 3, 2, "f.csv", "none"),
    ]
    spy = catalog.datasets()[1]
    assert (spy.ts_first, spy.ts_last) == (from_iso("2024-01-01"), from_iso("2024-01-11"))
    assert spy.content_hash == compute_content_hash(BARS)


def test_show_has_head_tail_and_quality(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    quality = np.zeros(10, dtype=np.int64)
    quality[[2, 5]] = Quality.GAP_BEFORE
    quality[5] |= Quality.REPAIRED
    write(catalog, {**BARS, "quality": quality})

    view = catalog.show(SPY.id, "1d", rows=2)

    assert view.head["close"].tolist() == [100.0, 101.0]
    assert view.tail["close"].tolist() == [108.0, 109.0]
    assert view.quality == {"GOOD": 8, "REPAIRED": 1, "SUSPECT": 0, "GAP_BEFORE": 2, "LATE": 0}
    assert view.dataset == catalog.datasets()[0]
    assert catalog.show(SPY.id, "1d", rows=99).tail["close"].tolist() == BARS["close"].tolist()


@pytest.mark.parametrize(
    ("instrument", "timeframe", "nearest"),
    [
        ("SPX.ARCX", "1d", "SPY.ARCX 1d"),
        ("SPY.ARCX", "1h", "SPY.ARCX 1d"),
        ("spy.arcx", "1d", "SPY.ARCX 1d"),
    ],
)
def test_read_bars_of_an_unknown_dataset_is_refused_with_the_nearest(
    tmp_path: Path, instrument: str, timeframe: str, nearest: str
) -> None:
    catalog = Catalog(tmp_path)
    write(catalog)
    write(catalog, instrument=BTC.id)

    with pytest.raises(DataError, match=f"no {timeframe} bars of {instrument} .*'{nearest}'"):
        catalog.read_bars(instrument, timeframe)
    with pytest.raises(DataError, match="there are no"):
        catalog.show(instrument, timeframe)


def test_read_bars_at_an_unknown_version_is_refused(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    write(catalog)

    with pytest.raises(DataError, match="there is no version 9: the newest is 0"):
        catalog.read_bars(SPY.id, "1d", version=9)


def test_read_many_keeps_the_order_asked_for_and_mixes_versions(tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    write(catalog, slice_rows(BARS, 0, 5))
    write(catalog, instrument=BTC.id)
    write(catalog)

    newest = catalog.read_many([SPY.id, BTC.id], "1d")
    mixed = catalog.read_many([BTC.id, SPY.id], "1d", {SPY.id: 1})

    assert [(each.instrument, each.version) for each in newest] == [(SPY.id, 2), (BTC.id, 1)]
    assert [(each.instrument, each.version) for each in mixed] == [(BTC.id, 1), (SPY.id, 0)]
    assert [len(each.columns["close"]) for each in mixed] == [10, 5]


@pytest.mark.parametrize("name", ["BRK/B.XNYS", "O'N.X", "BTC USD.X", "50%.X"])
def test_write_bars_of_any_instrument_name_can_be_read_and_replaced(
    tmp_path: Path, name: str
) -> None:
    catalog = Catalog(tmp_path)
    write(catalog, instrument=name)
    write(catalog, slice_rows(make_columns(10, price=7.5), 2, 4), instrument=name, replace=True)

    assert catalog.read_bars(name, "1d")["close"][1:5].tolist() == [101.0, 9.5, 10.5, 104.0]


WRITER = """
import sys
from pathlib import Path
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.delta_table import commit
from tests.unit.marketdata.csv_files import make_columns
import polars, deltalake
catalog = Catalog(Path(sys.argv[1]))
columns = make_columns(200_000, step=60_000_000_000, price=5.0)
print("writing", flush=True)
catalog.write_bars("SPY.ARCX", "1m", columns, source="new", adjustment="none", ts_ingest=2,
                   replace=True)
print("written", flush=True)
"""


@pytest.mark.parametrize("delay_ms", [20, 80, 200])
def test_write_bars_killed_in_the_middle_leaves_the_old_or_the_new(
    tmp_path: Path, delay_ms: int
) -> None:
    catalog = Catalog(tmp_path)
    old = make_columns(1000, step=60 * NS_PER_SECOND)
    new = make_columns(200_000, step=60 * NS_PER_SECOND, price=5.0)
    write(catalog, old, timeframe="1m")
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        try:
            writer.wait(delay_ms / 1000)
        except subprocess.TimeoutExpired:
            writer.send_signal(signal.SIGKILL)
        written = writer.stdout.read() == b"written\n"

    rows = catalog.read_bars(SPY.id, "1m")
    assert compute_content_hash(rows) in {compute_content_hash(old), compute_content_hash(new)}
    assert len(rows["close"]) == 200_000 or not written
    assert catalog.datasets()[0].content_hash == compute_content_hash(rows)
    write(catalog, new, timeframe="1m", replace=True)
    assert_same(catalog.read_bars(SPY.id, "1m"), new)
