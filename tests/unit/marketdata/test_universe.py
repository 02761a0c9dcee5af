from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.universe import Filters, Universe
from tests.unit.marketdata.csv_files import make_columns

T0 = from_iso("2024-01-01")


def write(catalog: Catalog, rows: list[tuple[int, int, str, int]]) -> Universe:
    """(day, days until known, name, 1 or 0) of each row."""
    days, delays, names, values = zip(*rows, strict=True)
    ts_event = T0 + np.array(days, dtype=np.int64) * NS_PER_DAY
    columns: dict[str, Any] = {
        "ts_event": ts_event,
        "ts_known": ts_event + np.array(delays, dtype=np.int64) * NS_PER_DAY,
        "name": np.array(names),
        "value": np.array(values, dtype=np.float64),
    }
    catalog.records.write(RecordKind.MEMBERSHIP, "INDEX", columns, source="s", ts_ingest=1)
    return Universe(catalog, "INDEX")


def day(number: int) -> int:
    return T0 + number * NS_PER_DAY


def test_members_are_those_of_the_moment_not_the_survivors(tmp_path: Path) -> None:
    universe = write(Catalog(tmp_path), [
        (0, 0, "AAA.X", 1), (0, 0, "BBB.X", 1), (5, 0, "BBB.X", 0), (5, 0, "CCC.X", 1),
        (9, 3, "DDD.X", 1), (20, 0, "BBB.X", 1),
    ])  # fmt: skip

    assert universe.members_at(day(0) - 1) == ()
    assert universe.members_at(day(4)) == ("AAA.X", "BBB.X")
    assert universe.members_at(day(5)) == ("AAA.X", "CCC.X")
    assert universe.members_at(day(11)) == ("AAA.X", "CCC.X")  # DDD is known on day 12
    assert universe.members_at(day(12)) == ("AAA.X", "CCC.X", "DDD.X")
    assert universe.ever_members(day(1), day(6)) == ("AAA.X", "BBB.X", "CCC.X")
    assert universe.ever_members(day(6), day(12)) == ("AAA.X", "CCC.X")
    assert universe.ever_members(day(6), day(21)) == ("AAA.X", "BBB.X", "CCC.X", "DDD.X")


rows_of = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 5), st.sampled_from(("A.X", "B.X", "C.X")),
              st.integers(0, 1)), min_size=1, max_size=10,
).map(sorted)  # fmt: skip


@given(rows_of, st.integers(0, 26))
@settings(max_examples=15, deadline=None)
def test_what_is_known_later_never_changes_the_members(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, str, int]], now: int
) -> None:
    past = [each for each in rows if each[0] + each[1] <= now]
    whole = write(Catalog(tmp_path_factory.mktemp("whole")), rows)
    expected: dict[str, int] = {}
    for _, _, name, value in past:
        expected[name] = value

    assert whole.members_at(day(now)) == tuple(sorted(n for n, v in expected.items() if v))
    if past:
        cut = write(Catalog(tmp_path_factory.mktemp("cut")), past)
        assert cut.members_at(day(now)) == whole.members_at(day(now))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog(tmp_path)
    write(made, [(-900, 0, "BIG.X", 1), (-900, 0, "SMALL.X", 1)])
    for name, price in (("BIG.X", 100.0), ("SMALL.X", 5.0)):
        bars = make_columns(30, price=price)
        made.write_bars(InstrumentId(name), "1d", bars, source="s", adjustment="none", ts_ingest=1,
                        definition=make_equity(name))  # fmt: skip
        ts = bars["ts_close"][[0, 20]]
        shares = {"ts_event": ts, "ts_period": ts, "name": np.array(["shares", "shares"]),
                  "value": np.array([1e6, 3e6])}  # fmt: skip
        made.records.write(RecordKind.FUNDAMENTALS, name, shares, source="s", ts_ingest=1)
    return made


def test_filters_see_only_bars_and_shares_known_then(catalog: Catalog) -> None:
    bars = catalog.read_bars("BIG.X", "1d")
    universe, both = Universe(catalog, "INDEX"), ("BIG.X", "SMALL.X")
    at = [int(each) for each in bars["ts_known"]]
    turnover = float(np.median((bars["close"] * bars["volume"])[1:21]))

    assert universe.select(at[0], Filters()) == both
    assert universe.select(at[0], Filters(min_price=50)) == ("BIG.X",)
    assert universe.select(at[0] - 1, Filters(min_price=1)) == ()  # no bar was known
    assert universe.select(at[20], Filters(min_turnover=turnover)) == ("BIG.X",)
    assert universe.select(at[20], Filters(min_turnover=np.nextafter(turnover, np.inf))) == ()
    assert universe.select(at[18], Filters(min_turnover=1)) == ()  # 19 bars are not 20
    assert universe.select(at[18], Filters(min_turnover=1, window=19)) == both
    least = float(bars["close"][20]) * 3e6
    assert universe.select(at[20], Filters(min_market_value=least)) == ("BIG.X",)
    assert universe.select(at[19], Filters(min_market_value=least * 0.9)) == ()


def test_command_lists_the_members_of_a_moment(catalog: Catalog) -> None:
    def run(*options: str) -> Any:
        arguments = ["data", "universe", "INDEX", "2200-01-01", "--catalog", str(catalog.path)]
        return CliRunner().invoke(app, [*arguments, *options])

    assert run().stdout == "BIG.X\nSMALL.X\n"
    assert json.loads(run("--min-price", "50", "--json").stdout) == ["BIG.X"]
    with pytest.raises(DataError, match="no membership of INDX"):
        Universe(catalog, "INDX")
