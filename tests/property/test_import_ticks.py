"""Whatever a file of ticks holds, an import is a `DataError` or exactly the rows of the file.

Checked against a twin that reads each record by itself, from CSV and from JSON. `ONETAPE_FUZZ` says
how many files are tried.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId, make_spot
from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.marketdata.corporate_actions import read_actions
from onetape.marketdata.fundamentals import read_fundamentals
from onetape.marketdata.funding import read_funding
from onetape.marketdata.importer import ImportOptions
from onetape.marketdata.quality import Repair
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.tick_importer import TickImport, import_ticks
from tests.support.fuzzing import fuzzed

BTC = make_spot("BTC-USD.X", base="BTC", quote="USD", tick_size="0.01", lot_size="0.0001")
NOW = from_iso("2024-01-20T12:00:30Z")
T0 = from_iso("2024-01-20T12:00:00Z")
NUMBER = re.compile(r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
AGGRESSORS = {"buy": 1, "sell": -1, "": 0, "b": 1, "s": -1, "unknown": 0}

TRADES = ["time", "price", "size", "side", "id"]
QUOTES = ["time", "bid", "ask", "bid_size", "ask_size"]

seconds = st.integers(0, 29).map(lambda second: f"2024-01-20T12:00:{second:02}Z")
prices = st.decimals("0.01", "99", places=2).map(str)
odd_numbers = st.sampled_from(
    ["", " ", "0", "-0", "-1", "+2", " 3 ", ".5", "5.", "1e2", "1e400", "1e-400", "nan", "inf",
     "Infinity", "1_0", "1,5", "0x10", "1.2.3", "--1", "1e", "٣", "None", "true", "1\x00"]
)  # fmt: skip
odd_times = st.sampled_from(
    ["", "x", "2024-02-30T12:00:00Z", "2024-01-20T25:00:00Z", "12:00:00Z",
     "2024-01-20T12:00:31Z", "2024-01-20T12:00:60Z", "2024-13-20T12:00:00Z",
     "2024-01-20T12:00:00ZZ"]
)  # fmt: skip
sides = st.sampled_from(["buy", "sell", "", "b", "S", "unknown"])
odd_sides = st.sampled_from(["bid", "x", "2", "true", "null", "buyy"])
ids = st.integers(1, 40).map(str)


@st.composite
def records(draw: st.DrawFn, names: list[str], odd_percent: int) -> list[str]:
    cells = {
        "time": draw(seconds), "price": draw(prices), "size": draw(prices), "side": draw(sides),
        "id": draw(ids), "bid_size": draw(prices), "ask_size": draw(prices),
    }  # fmt: skip
    cells["bid"], cells["ask"] = sorted((draw(prices), draw(prices)), key=float)
    row = [cells[name] for name in names]
    if draw(st.integers(0, 99)) >= odd_percent:
        return row
    at = draw(st.integers(0, len(names)))
    if at == len(names):
        return draw(st.sampled_from([row[:-1], [*row, "1"], row[::-1]]))
    odd = {"time": odd_times, "side": odd_sides, "id": st.sampled_from(["", " ", "7"])}
    row[at] = draw(odd.get(names[at], odd_numbers))
    return row


def files(names: list[str]) -> st.SearchStrategy[list[list[str]]]:
    in_order = st.lists(records(names, 4), min_size=1, max_size=6).map(sorted)
    return st.lists(records(names, 35), min_size=1, max_size=8) | in_order


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def write(folder: Path, names: list[str], rows: list[list[str]], form: str) -> Path:
    path = folder / f"f.{form}"
    if form == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([names, *rows])
        path.write_text(text.getvalue(), newline="")
        return path
    # A record of another length is one with another field, or without one; numbers stay texts.
    objects = [dict(zip([*names, "more"], row, strict=False)) for row in rows]
    first = dict(zip(names, ["x"] * len(names), strict=True))  # names the fields, and is bad
    objects.insert(0, first)
    if form == "json":
        path.write_text(json.dumps(objects), encoding="utf-8")
    else:
        path.write_text("\n".join(map(json.dumps, objects)) + "\n", encoding="utf-8")
    return path


def number(cell: str) -> float | None:
    return float(cell) if NUMBER.match(cell.strip()) and float(cell) < math.inf else None


def naive(names: list[str], row: list[str]) -> tuple[int, dict[str, float]] | None:
    """(time, values) of a record; None where it can't be a tick."""
    if len(row) != len(names):
        return None
    cells = {name: cell.strip() for name, cell in zip(names, row, strict=True)}
    time = re.match(r"^2024-01-20T12:00:([0-2][0-9]|30)Z$", cells["time"])
    if not time:
        return None
    ts = T0 + int(time[1]) * NS_PER_SECOND
    if names is TRADES:
        price, size = number(cells["price"]), number(cells["size"])
        side = AGGRESSORS.get(cells["side"].lower())
        if not price or price < 0 or size is None or size < 0 or side is None or not cells["id"]:
            return None
        return ts, {"price": price, "size": size, "aggressor": side, "id": float(cells["id"])}
    values: dict[str, float] = {}
    for each in ("bid", "ask"):
        price, size = number(cells[each]), number(cells[f"{each}_size"])
        if size is None or size < 0 or (size > 0 and (not price or price < 0)):
            return None
        values |= {each: price if size and price else 0.0, f"{each}_size": size}
    if values["bid_size"] and values["ask_size"] and values["bid"] > values["ask"]:
        return None
    return ts, values


def rows_of(result: TickImport) -> list[tuple[int, dict[str, float]]]:
    names = [each for each in result.columns if not each.startswith("ts") and each not in
             ("session_close", "quality")]  # fmt: skip
    columns = [result.columns[name].tolist() for name in names]
    return [
        (ts, dict(zip(names, values, strict=True)))
        for ts, *values in zip(result.columns["ts_event"].tolist(), *columns, strict=True)
    ]


def attempt(
    path: Path, kind: RecordKind, repairs: tuple[Repair, ...]
) -> tuple[TickImport | None, str]:
    """The result, or None and what is told where the file was refused."""
    options = ImportOptions(repairs=frozenset(repairs))
    try:
        return import_ticks(path, BTC, kind, options, ts_now=NOW), ""
    except DataError as error:
        return None, str(error)


def compare(folder: Path, names: list[str], rows: list[list[str]], form: str) -> None:
    path = write(folder, names, rows, form)
    kind = RecordKind.TRADES if names is TRADES else RecordKind.QUOTES
    twin = [naive(names, row) for row in rows]
    seen: set[float] = set()
    kept: list[tuple[int, dict[str, float]]] = []
    for each in twin:
        if each is not None and each[1].get("id", -1.0) not in seen:
            seen |= {each[1]["id"]} if "id" in each[1] else set()
            kept.append((each[0], {name: x for name, x in each[1].items() if name != "id"}))
    whole = form == "csv" and len(kept) == len(rows) and kept == sorted(kept, key=lambda r: r[0])
    for repairs, expected in (((), kept if whole else None), (tuple(Repair), kept or None)):
        result, told = attempt(path, kind, repairs)
        if "bad row" in told:
            assert path.name in told
            assert re.search(r"(lines?|records?) \d+", told)  # rejected rows are listed
        if expected is None:
            assert result is None
        else:
            assert result is not None
            assert rows_of(result) == sorted(expected, key=lambda row: row[0])
            lost = sum(n for each, n in result.repaired.items() if each is not Repair.SORT)
            assert result.records - lost == len(expected)


@fuzzed(60)
@given(files(TRADES), st.sampled_from(["csv", "json", "jsonl"]))
def test_import_of_prints_is_the_good_rows_in_order_or_refused(
    folder: Path, rows: list[list[str]], form: str
) -> None:
    compare(folder, TRADES, rows, form)


@fuzzed(60)
@given(files(QUOTES), st.sampled_from(["csv", "json", "jsonl"]))
def test_import_of_quotes_is_the_good_rows_in_order_or_refused(
    folder: Path, rows: list[list[str]], form: str
) -> None:
    compare(folder, QUOTES, rows, form)


leaves: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | odd_numbers
)
fields = st.sampled_from([*TRADES, *QUOTES, "x"])
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=6),
    max_leaves=12,
)
STARTS = [
    b"", b"time,price,size\n", b"time,bid,ask,bid_size,ask_size\n2024-01-20T12:00:00Z,", b"[",
    b'[{"time": "2024-01-20T12:00:00Z", "price": 1, "size": 1}, {"time": "2024-01-20T12:00:01Z", ',
    b'{"time": 1705752000, "price": 1, "size": 2}\n', b"[" * 100_000,
]  # fmt: skip


@fuzzed(60)
@given(
    st.sampled_from(STARTS),
    st.binary(max_size=80)
    | st.text(max_size=60).map(lambda text: text.encode(errors="replace"))
    | documents.map(lambda document: json.dumps(document).encode()),
    st.sampled_from(["f.csv", "f.csv.gz", "f.json", "f.jsonl", "f.parquet", "f.h5"]),
    st.sampled_from([RecordKind.TRADES, RecordKind.QUOTES]),
)
def test_import_of_anything_is_refused_or_ticks(
    folder: Path, start: bytes, rest: bytes, name: str, kind: RecordKind
) -> None:
    path = folder / name
    path.write_bytes(start + rest)
    result, told = attempt(path, kind, tuple(Repair))
    if result is None:
        assert path.name in told
    else:
        assert len(result.columns["ts_event"]) > 0
        assert (result.columns["ts_event"] <= NOW).all()


HEADERS = {
    "actions": "instrument,kind,ex_date,value\n",
    "funding": "instrument,ts,rate\n",
    "fundamentals": "instrument,item,period_end,ts_known,value\n",
}
CELLS = st.sampled_from(
    ["BTC-USD.X", "A.X", "split", "delisting", "2024-01-05", "2024-01-05T00:00:00Z", "99999-01-01",
     "eps", "1", "0.0001", "-2", "1e400", "nan", "", " ", '"', "\x00", "1705752000000", "٣", "1/0"]
)  # fmt: skip


@fuzzed(40)
@given(
    st.sampled_from(list(HEADERS)),
    st.lists(st.lists(CELLS, min_size=1, max_size=7).map(",".join), max_size=4).map("\n".join)
    | st.text(max_size=60),
    st.booleans(),
)
def test_side_file_of_anything_is_refused_or_rows(
    folder: Path, kind: str, text: str, headed: bool
) -> None:
    path = folder / "side.csv"
    path.write_bytes(((HEADERS[kind] if headed else "") + text).encode(errors="replace"))
    known = [InstrumentId("BTC-USD.X"), InstrumentId("A.X")]
    read: Any = {"actions": read_actions, "funding": read_funding,
                 "fundamentals": read_fundamentals}[kind]  # fmt: skip
    try:
        rows, told = read(path, known), ""
    except DataError as error:
        rows, told = [], str(error)
    assert not told or "side.csv" in told
    assert all(each.instrument in known for each in rows)
