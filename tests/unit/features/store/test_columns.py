from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onetape.domain.errors import DataError, StrategyError
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.features import Ema, FeatureRegistry, Rsi, Sma, compute_feature_columns
from onetape.features.store import FeatureStore
from onetape.features.store import bar_columns as store_columns
from onetape.marketdata.catalog import Catalog
from tests.support.timelines import flat, make_columns

IDS = (InstrumentId("AAA.SIM"), InstrumentId("BBB.SIM"))


def prices(seed: int, count: int) -> list[float]:
    steps = np.random.default_rng(seed).normal(0.0, 1.0, count)
    return [round(100.0 + each, 2) for each in np.cumsum(steps).tolist()]


def write(catalog: Catalog, identity: InstrumentId, seed: int, count: int = 80) -> None:
    catalog.write_bars(
        identity, "1m", make_columns(flat(*prices(seed, count)), delay=7, session=10),
        source="test", adjustment="none", ts_ingest=1, definition=make_equity(identity),
    )  # fmt: skip


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog(tmp_path / "catalog")
    for seed, identity in enumerate(IDS):
        write(made, identity, seed)
    return made


@pytest.fixture
def registry() -> FeatureRegistry:
    made = FeatureRegistry()
    made.add("rsi", Rsi(5))
    made.add("calm", Ema(3, inputs=("rsi",)))
    return made


def test_get_gives_the_newest_value_known_at_a_time(
    catalog: Catalog, registry: FeatureRegistry
) -> None:
    store = FeatureStore(registry, catalog, "1m")
    bars = catalog.read_bars(IDS[0], "1m")
    naive = compute_feature_columns({"calm": Ema(3).of(Rsi(5))}, bars)["calm"]
    for row in (7, 8, 40, 79):
        ts = int(bars["ts_known"][row])
        assert store.get("calm", IDS, ts)[IDS[0]] == naive[row]
        assert store.get("calm", IDS, ts - 1)[IDS[0]] == pytest.approx(naive[row - 1], nan_ok=True)
    assert np.isnan(list(store.get("calm", IDS, 0).values())).all()


def test_columns_are_computed_once_and_come_back_with_the_same_bits(
    catalog: Catalog, registry: FeatureRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def compute(features: dict[str, object], *given: object) -> object:
        calls.extend(features)
        return compute_feature_columns(features, *given)  # pyright: ignore[reportArgumentType, reportCallIssue]

    monkeypatch.setattr(store_columns, "compute_feature_columns", compute)
    store = FeatureStore(registry, catalog, "1m")
    assert calls == []  # lazy
    built = store.build(["calm", "rsi"], IDS)
    assert sorted(calls) == ["calm", "calm", "rsi", "rsi"]  # what calm reads is not computed twice
    assert [each.was_stored for each in built] == [False] * 4
    assert [(each.rows, each.nan_rows) for each in built] == [(80, 7), (80, 5)] * 2
    later = FeatureStore(registry, catalog, "1m")
    assert [each.was_stored for each in later.build(["calm", "rsi"], IDS)] == [True] * 4
    assert len(calls) == 4
    pairs = [(name, each) for each in IDS for name in ("calm", "rsi")]
    for pair in pairs:
        one, other = store.column(*pair), later.column(*pair)
        assert one.values.tobytes() == other.values.tobytes()
        assert one.ts_known.tobytes() == other.ts_known.tobytes()


def test_other_bars_are_other_columns(catalog: Catalog, registry: FeatureRegistry) -> None:
    store = FeatureStore(registry, catalog, "1m")
    store.build(["rsi"], IDS[:1])
    before = store.column("rsi", IDS[0])
    write(catalog, IDS[0], 0, 90)
    store.refresh()
    after = store.column("rsi", IDS[0])
    assert (len(before.values), len(after.values)) == (80, 90)
    assert not after.is_stored
    assert before.data != after.data
    assert len(store.tables.keys()) == 1


def test_version_that_has_left_the_registry_is_computed_by_its_archived_definition(
    catalog: Catalog,
) -> None:
    old = FeatureRegistry()
    old.add("rsi", Rsi(5))
    stored = FeatureStore(old, catalog, "1m").build(["rsi"], IDS[:1])[0]
    new = FeatureRegistry()
    new.add("rsi", Rsi(9), version=2)
    store = FeatureStore(new, catalog, "1m")
    one, two = store.column("rsi@1", IDS[1]), store.column("rsi", IDS[1])  # never stored there
    expected = compute_feature_columns(
        {"one": Rsi(5), "two": Rsi(9)}, catalog.read_bars(IDS[1], "1m")
    )
    assert one.values.tobytes() == expected["one"].tobytes()
    assert two.values.tobytes() == expected["two"].tobytes()
    assert store.column(f"rsi@{stored.version}", IDS[0]).is_stored
    with pytest.raises(StrategyError, match="no version '3' of 'rsi'"):
        store.column("rsi@3", IDS[0])


def test_window_longer_than_the_data_is_refused_with_the_line(catalog: Catalog) -> None:
    registry = FeatureRegistry()
    registry.add("long", Sma(81))
    with pytest.raises(DataError, match=r"stands at bar 81, and there are 80 1m bars") as caught:
        FeatureStore(registry, catalog, "1m").column("long", IDS[0])
    assert "test_columns.py:" in caught.value.where


def test_unknown_instrument_is_refused_with_the_nearest(
    catalog: Catalog, registry: FeatureRegistry
) -> None:
    with pytest.raises(DataError, match=r"did you mean 'AAA\.SIM'"):
        FeatureStore(registry, catalog, "1m").get("rsi", ["AAA.SIN"], 0)
