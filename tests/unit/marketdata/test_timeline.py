from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import Instrument, InstrumentId, make_equity
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.bars import BAR_COLUMNS, BarColumns, compute_content_hash, slice_rows
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.timeline import Timeline, build_timeline, load_timeline
from tests.unit.marketdata.csv_files import make_columns

A, B, C = (make_equity(f"{name}.XNAS") for name in "ABC")


def bars_known_at(*days: int, price: float = 100.0) -> BarColumns:
    """Daily bars that close at these days."""
    every = make_columns(max(days, default=0), start="1970-01-01", price=price)
    return {name: column[[day - 1 for day in days]] for name, column in every.items()}


def build(*series: tuple[Instrument, BarColumns]) -> Timeline:
    return build_timeline(series, source="memory", timeframe="1d")


def rows_in_words(timeline: Timeline) -> list[tuple[str, int, bool]]:
    """(instrument, day known, last of its slice) of every row."""
    return [
        (timeline.instruments[index].symbol, known // NS_PER_DAY, end)
        for index, known, end in zip(
            timeline.instrument_index.tolist(),
            timeline.columns["ts_known"].tolist(),
            timeline.slice_end.tolist(),
            strict=True,
        )
    ]


def test_build_timeline_orders_by_knowledge_then_by_instrument() -> None:
    timeline = build((B, bars_known_at(1, 2, 4)), (A, bars_known_at(2, 3, 4)))

    assert rows_in_words(timeline) == [
        ("B", 1, True),
        ("B", 2, False),
        ("A", 2, True),
        ("A", 3, True),
        ("B", 4, False),
        ("A", 4, True),
    ]
    assert len(timeline) == 6
    assert timeline.rows_of(A.id).tolist() == [2, 3, 5]
    assert timeline.rows_of(B.id).tolist() == [0, 1, 4]
    assert (timeline.instrument_index.dtype, timeline.slice_end.dtype) == (np.int32, np.bool_)
    assert timeline.rows_of(A.id).dtype == np.int64


def test_build_timeline_late_publication_is_ordered_by_when_it_is_known() -> None:
    late = bars_known_at(1, 2)
    late["ts_known"] = late["ts_known"] + 3 * NS_PER_DAY

    timeline = build((A, late), (B, bars_known_at(2, 3, 6)))

    assert [row[:2] for row in rows_in_words(timeline)] == [
        ("B", 2), ("B", 3), ("A", 4), ("A", 5), ("B", 6),
    ]  # fmt: skip


def test_build_timeline_of_one_instrument_copies_nothing() -> None:
    columns = bars_known_at(1, 2, 5)

    timeline = build((A, columns))

    assert all(timeline.columns[name] is columns[name] for name in BAR_COLUMNS)
    assert timeline.rows_of(A.id).tolist() == [0, 1, 2]
    assert timeline.slice_end.tolist() == [True, True, True]


def test_build_timeline_without_rows_is_empty() -> None:
    timeline = build((A, bars_known_at()), (B, bars_known_at()))

    assert (len(timeline), list(timeline.blocks(10))) == (0, [])
    assert timeline.rows_of(B.id).tolist() == []


@settings(max_examples=50)
@given(st.lists(st.sets(st.integers(1, 30), max_size=12), min_size=1, max_size=4))
def test_build_timeline_is_the_sorted_list_of_all_bars(days: list[set[int]]) -> None:
    instruments = [make_equity(f"I{at}.X") for at in range(len(days))]
    series = [
        (instrument, bars_known_at(*sorted(own), price=1000.0 * (at + 1)))
        for at, (instrument, own) in enumerate(zip(instruments, days, strict=True))
    ]

    timeline = build(*series)

    naive = sorted((day, at) for at, own in enumerate(days) for day in own)
    closes = [1000.0 * (at + 1) + day - 1 for day, at in naive]
    assert timeline.columns["close"].tolist() == closes
    assert timeline.instrument_index.tolist() == [at for _, at in naive]
    ends = [row == len(naive) - 1 or naive[row + 1][0] != day for row, (day, _) in enumerate(naive)]
    assert timeline.slice_end.tolist() == ends
    for instrument, columns in series:
        rows = timeline.rows_of(instrument.id)
        assert timeline.columns["close"][rows].tolist() == columns["close"].tolist()


@pytest.mark.parametrize(("rows", "start"), [(1, 0), (2, 0), (4, 1), (100, 0), (3, 6)])
def test_blocks_hold_every_row_once_with_its_instrument(rows: int, start: int) -> None:
    timeline = build((B, bars_known_at(1, 2, 4)), (A, bars_known_at(2, 3, 4)))

    blocks = list(timeline.blocks(rows, start))

    bars = [bar for block in blocks for bar in block.events()]
    assert [bar.instrument for bar in bars] == [
        timeline.instruments[index].id for index in timeline.instrument_index[start:]
    ]
    assert [bar.ts_known for bar in bars] == timeline.columns["ts_known"][start:].tolist()
    assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert {(bar.source, bar.timeframe) for bar in bars} <= {("memory", "1d")}


def test_blocks_of_one_instrument_name_it_once_and_are_views() -> None:
    timeline = build((A, bars_known_at(1, 2, 3)))

    [first, second] = timeline.blocks(2)

    assert first.instruments == second.instruments == A.id
    assert np.shares_memory(second.columns["close"], timeline.columns["close"])


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([], "a timeline needs an instrument"),
        ([(A, bars_known_at(1)), (A, bars_known_at(2))], "A.XNAS comes twice"),
        ([(A, bars_known_at(2, 1))], r"A.XNAS row 1: bar that starts before"),
    ],
)
def test_build_timeline_of_no_use_is_refused(
    series: list[tuple[Instrument, BarColumns]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        build(*series)


def test_rows_of_an_unknown_instrument_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        build((A, bars_known_at(1))).rows_of("Z.Z")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """A has ten days, B days 5 to 9; A was corrected after both were written."""
    catalog = Catalog(tmp_path)
    write(catalog, A, make_columns(10, price=50.0))
    write(catalog, B, slice_rows(make_columns(10, price=500.0), 5, 9))
    write(catalog, A, make_columns(10), replace=True)
    return catalog


def write(catalog: Catalog, instrument: Instrument, columns: BarColumns, **options: bool) -> None:
    catalog.write_bars(
        instrument.id, "1d", columns,
        source="f.csv", adjustment="none", ts_ingest=0, definition=instrument, **options,
    )  # fmt: skip


def load(
    catalog: Catalog, ids: list[InstrumentId], start: str, end: str, **options: dict[str, int]
) -> Timeline:
    return load_timeline(catalog, ids, "1d", from_iso(start), from_iso(end), **options)


def test_load_timeline_pins_the_very_rows_it_read(catalog: Catalog) -> None:
    timeline = load(catalog, [B.id, A.id], "2024-01-06", "2024-01-09")

    assert timeline.instruments == (B, A)
    assert timeline.columns["close"].tolist() == [505.0, 105.0, 506.0, 106.0, 507.0, 107.0]
    used = slice_rows(make_columns(10), 5, 8)
    assert timeline.datasets[1] == DatasetPin(
        instrument=A.id,
        timeframe="1d",
        table_version=2,
        content_hash=compute_content_hash(used),
        rows=3,
        ts_first=from_iso("2024-01-06"),
        ts_last=from_iso("2024-01-09"),
        adjustment="none",
    )
    assert timeline.datasets[0].table_version == 1
    assert (timeline.source, timeline.timeframe) == ("catalog", "1d")


@pytest.mark.parametrize(
    ("start", "end", "closes"),
    [
        ("2023-01-01", "2025-01-01", [100.0 + i for i in range(10)]),
        ("2024-01-02", "2024-01-04", [101.0, 102.0]),
        ("2024-01-02T00:00:01", "2024-01-03T23:59:59", []),
        ("2024-01-02T00:00:01", "2024-01-04T00:00", [102.0]),
        ("2024-01-03", "2024-01-02", []),
        ("2030-01-01", "2031-01-01", []),
    ],
)
def test_load_timeline_takes_the_bars_within_the_time(
    catalog: Catalog, start: str, end: str, closes: list[float]
) -> None:
    if closes:
        assert load(catalog, [A.id], start, end).columns["close"].tolist() == closes
        return
    with pytest.raises(
        DataError, match=r"A.XNAS has no 1d bars .*has 2024-01-01T00:00:00Z to 2024-01-11T00:00:00Z"
    ):
        load(catalog, [A.id], start, end)


def test_load_timeline_at_pinned_versions_is_what_was_read_then(catalog: Catalog) -> None:
    newest = load(catalog, [A.id], "2024-01-01", "2025-01-01")
    first = load(catalog, [A.id], "2024-01-01", "2025-01-01", versions={A.id: 0})
    write(catalog, C, make_columns(3))
    write(catalog, A, make_columns(12, price=70.0), replace=True)

    pinned = {pin.instrument: pin.table_version for pin in newest.datasets}
    again = load(catalog, [A.id], "2024-01-01", "2025-01-01", versions=pinned)

    assert again.datasets == newest.datasets
    assert again.columns["close"].tolist() == newest.columns["close"].tolist()
    assert first.columns["close"][0] == 50.0


def test_load_timeline_pin_is_not_changed_by_imports_of_others(catalog: Catalog) -> None:
    before = load(catalog, [A.id], "2024-01-01", "2025-01-01").datasets
    write(catalog, C, make_columns(3))

    assert load(catalog, [A.id], "2024-01-01", "2025-01-01").datasets == before


def test_load_timeline_of_unknown_names_is_refused_with_the_nearest(catalog: Catalog) -> None:
    with pytest.raises(DataError, match=r"no 1d bars of AA.XNAS .*did you mean 'A.XNAS 1d'"):
        load(catalog, [A.id, InstrumentId("AA.XNAS")], "2024-01-01", "2025-01-01")
    with pytest.raises(DataError, match="comes twice"):
        load(catalog, [A.id, A.id], "2024-01-01", "2025-01-01")


def test_load_timeline_of_bars_without_a_definition_is_refused(catalog: Catalog) -> None:
    catalog.write_bars(C.id, "1d", make_columns(3), source="", adjustment="none", ts_ingest=0)

    with pytest.raises(DataError, match=r"instrument 'C.XNAS' is not in the catalog"):
        load(catalog, [C.id], "2024-01-01", "2025-01-01")
