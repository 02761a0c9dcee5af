from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError, StrategyError
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.timestamps import NS_PER_DAY
from onetape.features import (
    Ema,
    Estimator,
    FeatureRegistry,
    OrderFlow,
    QuotedSpread,
    QuoteImbalance,
    Sma,
    Timeframed,
    TradeFlow,
    Vwap,
    compute_feature_columns,
)
from onetape.features.columns import compute_column, select_inputs
from onetape.features.pieces import ColumnPieces
from onetape.features.store import FeatureStore
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.loading import load_ticks
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.records import ALWAYS, Records
from onetape.marketdata.tick_days import TickDays
from tests.parity.test_feature_failures import Fragile

AAA = InstrumentId("AAA.SIM")
DAY_ONE = 19_000 * NS_PER_DAY
FEATURES: dict[str, Estimator] = {
    "spread": QuotedSpread(),
    "imbalance": QuoteImbalance(),
    "calm": Ema(7).of(QuotedSpread("price")) - Sma(3).of("close"),
    "flow": OrderFlow(9),
    "taken": TradeFlow(11, inputs=("side", "volume")),
    "slow": Timeframed(Sma(2), "1h"),
}
Columns = dict[str, npt.NDArray[Any]]


def make_times(rng: np.random.Generator, day: int, rows: int) -> npt.NDArray[np.int64]:
    return DAY_ONE + day * NS_PER_DAY + np.sort(rng.integers(0, NS_PER_DAY, rows))


def make_quotes(rng: np.random.Generator, day: int, rows: int) -> Columns:
    bid = np.round(100 + rng.normal(0, 1, rows), 2)
    return {
        "ts_event": make_times(rng, day, rows),
        "bid": bid,
        "ask": bid + np.round(rng.exponential(0.05, rows), 2),
        "bid_size": rng.integers(0, 4, rows).astype(float),  # a quarter of the sides is empty
        "ask_size": rng.integers(0, 4, rows).astype(float),
    }


def make_prints(rng: np.random.Generator, day: int, rows: int) -> Columns:
    return {
        "ts_event": make_times(rng, day, rows),
        "price": np.round(100 + rng.normal(0, 1, rows), 2),
        "size": rng.integers(1, 9, rows).astype(float),
        "aggressor": rng.integers(-1, 2, rows),
    }


def write(catalog: Catalog, kind: RecordKind, columns: Columns) -> None:
    if len(columns["ts_event"]):
        catalog.records.write(kind, AAA, columns, source="test", ts_ingest=1)


def write_days(catalog: Catalog, days: range, seed: int = 1, rows: int = 60) -> None:
    for day in days:
        rng = np.random.default_rng([seed, day])
        write(catalog, RecordKind.QUOTES, make_quotes(rng, day, rows))
        write(catalog, RecordKind.TRADES, make_prints(rng, day, rows // 2))


def read_session(catalog: Catalog, what: str) -> Any:
    return load_ticks(catalog, [AAA], what, *ALWAYS, {}).columns


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog(tmp_path / "catalog")
    made.write_instrument(make_equity(AAA))
    write_days(made, range(4))
    return made


@pytest.fixture
def registry() -> FeatureRegistry:
    made = FeatureRegistry()
    for name, each in FEATURES.items():
        made.add(name, each)
    made.add("wide", Sma(5, inputs=("spread",)))
    return made


@pytest.mark.parametrize("is_compiled", [False, True])
def test_pieces_make_the_bits_of_the_whole_column(catalog: Catalog, *, is_compiled: bool) -> None:
    columns = read_session(catalog, "quotes+trades")
    rows = len(columns["ts_event"])
    for name, each in FEATURES.items():
        inputs = select_inputs(name, each, columns)
        pieces = ColumnPieces(each, is_compiled=is_compiled)
        cuts = [0, 0, 1, 9, 10, 200, rows]
        parts = [
            pieces.take(tuple(column[one:other].copy() for column in inputs))
            for one, other in itertools.pairwise(cuts)
        ]
        assert np.concatenate(parts).tobytes() == compute_column(each, inputs).tobytes()


@pytest.mark.parametrize("what", ["trades", "quotes", "quotes+trades"])
def test_days_are_the_rows_of_a_session(catalog: Catalog, what: str) -> None:
    session = read_session(catalog, what)
    days = [columns for _, columns in TickDays(catalog, AAA, what).stream()]
    assert len(days) == 4
    for name, column in session.items():
        joined = np.concatenate([each[name] for each in days])
        np.testing.assert_array_equal(joined, column, err_msg=name)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["quote", "print"]),
                st.integers(0, 3), st.integers(0, 3), st.integers(1, 20), st.integers(0, 5),
            ), min_size=1, max_size=6,
        ), min_size=1, max_size=4,
    )
)  # fmt: skip
def test_days_are_the_rows_of_a_session_whatever_side_is_empty(
    tmp_path_factory: pytest.TempPathFactory, days: list[list[tuple[str, int, int, int, int]]]
) -> None:
    catalog = Catalog(tmp_path_factory.mktemp("catalog"))
    catalog.write_instrument(make_equity(AAA))
    for day, rows in enumerate(days):
        ts = [DAY_ONE + day * NS_PER_DAY + at * 1000 for at in range(len(rows))]
        both = list(zip(ts, rows, strict=True))
        quotes = [(at, row) for at, row in both if row[0] == "quote"]
        prints = [(at, row) for at, row in both if row[0] == "print"]
        if day == 0:  # a first row has a price
            quotes.insert(0, (ts[0] - 0, ("quote", 1, 0, 5, 1)))
            prints.insert(0, (ts[0] - 0, ("print", 0, 1, 7, 1)))
        write(catalog, RecordKind.QUOTES, {
            "ts_event": np.array([at for at, _ in quotes], np.int64),
            "bid": np.array([float(row[3]) for _, row in quotes]),
            "ask": np.array([float(row[3] + row[4]) for _, row in quotes]),
            "bid_size": np.array([float(row[1]) for _, row in quotes]),
            "ask_size": np.array([float(row[2]) for _, row in quotes]),
        })  # fmt: skip
        write(catalog, RecordKind.TRADES, {
            "ts_event": np.array([at for at, _ in prints], np.int64),
            "price": np.array([float(row[3]) for _, row in prints]),
            "size": np.array([float(row[2]) for _, row in prints]),
        })  # fmt: skip
    session = read_session(catalog, "quotes+trades")
    parts = [columns for _, columns in TickDays(catalog, AAA, "quotes+trades").stream()]
    for name, column in session.items():
        joined = np.concatenate([each[name] for each in parts])
        np.testing.assert_array_equal(joined, column, err_msg=name)


def test_column_over_ticks_has_the_bits_of_a_session(
    catalog: Catalog, registry: FeatureRegistry
) -> None:
    store = FeatureStore(registry, catalog, "quotes+trades")
    session = read_session(catalog, "quotes+trades")
    expected = compute_feature_columns({**FEATURES, "wide": Sma(5).of(QuotedSpread())}, session)
    for name, values in expected.items():
        column = store.column(name, AAA)
        assert column.values.tobytes() == values.tobytes()
        np.testing.assert_array_equal(column.ts_known, session["ts_known"])
    prints = FeatureRegistry()
    prints.add("vwap", Vwap(20))
    traded = FeatureStore(prints, catalog, "trades").column("vwap", AAA).values
    session = read_session(catalog, "trades")
    money = session["price"] * session["size"]
    naive = [
        money[at - 19 : at + 1].sum() / session["size"][at - 19 : at + 1].sum()
        for at in range(19, len(money))
    ]
    np.testing.assert_allclose(traded[19:], naive, rtol=1e-12)


def test_get_gives_the_newest_value_known_at_a_time_over_midnight(
    catalog: Catalog, registry: FeatureRegistry
) -> None:
    session = read_session(catalog, "quotes+trades")
    values = compute_feature_columns({"flow": FEATURES["flow"]}, session)["flow"]
    for is_built in (False, True):
        store = FeatureStore(registry, catalog, "quotes+trades")
        if is_built:
            store.build(["flow"], [AAA])
        for row in (0, 9, 10, 89, 90, 91, 200, len(values) - 1):
            ts = int(session["ts_known"][row])
            newest = int(np.searchsorted(session["ts_known"], ts, side="right")) - 1
            known = store.newest("flow", AAA, ts)
            assert known.ts_known == ts
            np.testing.assert_equal(known.value, values[newest])
            assert store.get("flow", [AAA], ts) == pytest.approx({AAA: values[newest]}, nan_ok=True)
        night = DAY_ONE + 2 * NS_PER_DAY - 1  # the newest is of the day before the next row
        row = int(np.searchsorted(session["ts_known"], night, side="right")) - 1
        np.testing.assert_equal(store.newest("flow", AAA, night).value, values[row])
        late = store.newest("flow", AAA, DAY_ONE + 99 * NS_PER_DAY)
        np.testing.assert_equal(late.value, values[-1])
        assert store.newest("flow", AAA, DAY_ONE - 1).ts_known is None
        assert math.isnan(store.get("flow", [AAA], DAY_ONE - 1)[AAA])


def test_built_days_stay_when_a_day_is_added_and_go_when_one_is_corrected(
    catalog: Catalog, registry: FeatureRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    take = ColumnPieces.take

    def count(self: ColumnPieces, inputs: Any) -> Any:
        taken.append(len(inputs[0]))
        return take(self, inputs)

    monkeypatch.setattr(ColumnPieces, "take", count)
    store = FeatureStore(registry, catalog, "quotes")
    assert [each.was_stored for each in store.build(["spread", "flow"], [AAA])] == [False, False]
    assert taken == [60] * 8
    built = FeatureStore(registry, catalog, "quotes").build(["flow", "spread"], [AAA])
    assert [(each.was_stored, each.rows) for each in built] == [(True, 240)] * 2
    assert taken == [60] * 8
    before = store.column("flow", AAA)
    assert before.is_stored
    assert len(store.stored()) == 8

    write_days(catalog, range(4, 5))
    store.refresh()
    days = list(store.stream("flow", AAA))
    assert [each.is_stored for each in days] == [True] * 4 + [False]
    np.testing.assert_array_equal(np.concatenate([each.values for each in days[:4]]), before.values)

    other = make_quotes(np.random.default_rng(99), 2, 60)
    stored = catalog.records.read(RecordKind.QUOTES, AAA).columns["ts_event"][120:180]
    catalog.records.write(RecordKind.QUOTES, AAA, {**other, "ts_event": stored}, source="later",
                          ts_ingest=2, replace=True)  # fmt: skip
    store.refresh()
    days = list(store.stream("flow", AAA))
    assert [each.is_stored for each in days] == [True, True, False, False, False]
    session = read_session(catalog, "quotes")
    values = compute_feature_columns({"flow": FEATURES["flow"]}, session)["flow"]
    np.testing.assert_array_equal(np.concatenate([each.values for each in days]), values)


def test_a_day_is_read_when_the_one_before_it_was_taken(
    catalog: Catalog, registry: FeatureRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    read = Records.read

    def count(self: Records, kind: RecordKind, dataset: str, **given: Any) -> Any:
        reads.append(kind.value)
        return read(self, kind, dataset, **given)

    monkeypatch.setattr(Records, "read", count)
    stream = FeatureStore(registry, catalog, "quotes+trades").stream("wide", AAA)
    for day in range(1, 5):
        next(stream)
        assert reads == ["quotes", "trades"] * day


def test_version_that_has_left_the_registry_is_computed_over_ticks_too(catalog: Catalog) -> None:
    old = FeatureRegistry()
    old.add("flow", OrderFlow(4))
    FeatureStore(old, catalog, "quotes").build(["flow"], [AAA])
    write_days(catalog, range(4, 5))
    new = FeatureRegistry()
    new.add("flow", OrderFlow(6), version=2)
    store = FeatureStore(new, catalog, "quotes")
    session = read_session(catalog, "quotes")
    expected = compute_feature_columns({"a": OrderFlow(4), "b": OrderFlow(6)}, session)
    np.testing.assert_array_equal(store.column("flow@1", AAA).values, expected["a"])
    np.testing.assert_array_equal(store.column("flow", AAA).values, expected["b"])


def test_bad_requests_are_refused_with_what_to_do(
    catalog: Catalog, registry: FeatureRegistry
) -> None:
    with pytest.raises(DataError, match="book can't be read by day"):
        FeatureStore(registry, catalog, "book").column("flow", AAA)
    with pytest.raises(DataError, match=r"instrument 'AAB\.SIM' is not in the catalog"):
        FeatureStore(registry, catalog, "quotes").get("flow", ["AAB.SIM"], 0)
    registry.add("long", Sma(241, inputs=("spread",)))
    with pytest.raises(DataError, match=r"stands at row 241, and there are 240 quotes") as caught:
        FeatureStore(registry, catalog, "quotes").build(["long"], [AAA])
    assert "test_tick_columns.py:" in caught.value.where
    registry.add("odd", Sma(2, inputs=("eps",)))
    with pytest.raises(StrategyError, match="'eps'"):
        FeatureStore(registry, catalog, "quotes").get("odd", [AAA], 0)
    registry.add("prints", Sma(2, inputs=("aggressor",)))
    with pytest.raises(StrategyError, match="there is no column 'aggressor'"):
        FeatureStore(registry, catalog, "quotes").column("prints", AAA)
    registry.add("fragile", Fragile(200))
    with pytest.raises(StrategyError, match=r"feature fragile: raises ZeroDivisionError"):
        FeatureStore(registry, catalog, "quotes").build(["fragile"], [AAA])
    other = Catalog(catalog.path)
    other.write_instrument(make_equity(InstrumentId("BBB.SIM")))
    with pytest.raises(DataError, match=r"there are no quotes of BBB\.SIM"):
        FeatureStore(registry, other, "quotes").get("flow", ["BBB.SIM"], 0)


def test_symbols_are_those_with_all_kinds(catalog: Catalog, registry: FeatureRegistry) -> None:
    bbb = InstrumentId("BBB.SIM")
    catalog.write_instrument(make_equity(bbb))
    catalog.records.write(RecordKind.TRADES, bbb, make_prints(np.random.default_rng(1), 0, 5),
                          source="test", ts_ingest=1)  # fmt: skip
    assert FeatureStore(registry, catalog, "trades").symbols() == [AAA, bbb]
    assert FeatureStore(registry, catalog, "quotes+trades").symbols() == [AAA]
