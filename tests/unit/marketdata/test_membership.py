"""The members of a session against `Universe.select`, which looks at one moment alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.loading import load_market_data
from onetape.marketdata.membership import Filters, Membership, UniverseChoice
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.timeline import Reading
from onetape.marketdata.universe import Universe
from tests.unit.marketdata.csv_files import make_columns

T0 = from_iso("2024-01-01")
NAMES = [InstrumentId(f"{each}.X") for each in "ABCD"]
DAYS = 40

CHOICES = [
    Filters(),
    Filters(sectors=("TECH",)),
    Filters(sectors=("TECH", "FOOD")),
    Filters(min_price=100),
    Filters(min_turnover=100_000, window=4),
    Filters(min_turnover=100_000, window=5, sectors=("FOOD",)),
    Filters(min_market_value=1e8),
    Filters(min_price=90, min_turnover=60_000, min_market_value=5e7, window=3),
]


def day(number: float) -> int:
    return T0 + int(number * NS_PER_DAY)


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Prices that wander around 100, volumes around 1000, members that come and go, some late."""
    made = Catalog(tmp_path_factory.mktemp("universe"))
    random = np.random.default_rng(5)
    for at, name in enumerate(NAMES):
        bars = make_columns(DAYS - 5 * at, start=f"2024-01-{1 + 5 * at:02}")
        shift = random.uniform(-40, 40, len(bars["close"])) - np.arange(len(bars["close"]))
        bars |= {each: bars[each] + shift for each in ("open", "high", "low", "close")}
        bars["volume"] = random.uniform(500, 1500, len(shift))
        made.write_bars(name, "1d", bars, source="s", adjustment="none", ts_ingest=1,
                        definition=make_equity(name))  # fmt: skip
        ts = np.sort(random.choice(DAYS, 3, replace=False)).astype(np.int64) * NS_PER_DAY + T0
        shares = {"ts_event": ts, "ts_known": ts + random.integers(0, 9, 3) * NS_PER_DAY,
                  "ts_period": ts, "name": np.array(["shares"] * 3),
                  "value": random.choice([5e5, 1e6, 2e6], 3)}  # fmt: skip
        made.records.write(RecordKind.FUNDAMENTALS, name, shares, source="s", ts_ingest=1)
    for universe in ("INDEX", "TECH", "FOOD"):
        days = np.sort(random.integers(-5, DAYS, 24)).astype(np.int64)
        rows = {
            "ts_event": T0 + days * NS_PER_DAY,
            "ts_known": T0 + (days + random.integers(0, 6, 24)) * NS_PER_DAY,
            "name": random.choice(np.array(NAMES), 24),
            "value": random.integers(0, 2, 24).astype(np.float64),
        }
        made.records.write(RecordKind.MEMBERSHIP, universe, rows, source="s", ts_ingest=1)
    return made


def load(catalog: Catalog, filters: Filters, names: list[InstrumentId] = NAMES, start: int = 8,
         timeframe: str = "1d") -> Membership:  # fmt: skip
    reading = Reading(universe=UniverseChoice(name="INDEX", filters=filters))
    timeline = load_market_data(catalog, names, timeframe, day(start), day(DAYS), reading=reading)
    assert timeline.universe is not None
    assert timeline.pins[-1] == timeline.universe.pin
    return timeline.universe


@pytest.mark.parametrize("filters", CHOICES)
def test_members_of_a_session_are_those_that_a_look_at_each_moment_finds(
    catalog: Catalog, filters: Filters
) -> None:
    members = load(catalog, filters)
    one_by_one = Universe(catalog, "INDEX")
    seen: set[tuple[str, ...]] = set()
    for half in range(16, 2 * DAYS):
        ts = day(half / 2)
        expected = one_by_one.select(ts, filters)
        assert members.members_at(ts) == expected
        assert members.members_at(ts - 1) == tuple(n for n in NAMES if members.is_member(n, ts - 1))
        seen.add(expected)
    assert len(seen) > 3
    assert members.pin.table_version == catalog.records.newest()


def test_pin_is_the_same_for_the_same_members_and_another_one_for_others(catalog: Catalog) -> None:
    plain, bounded = (load(catalog, each).pin for each in (Filters(), Filters(min_price=1)))
    assert load(catalog, Filters()).pin == plain
    assert load(catalog, Filters(min_price=100)).pin.content_hash != plain.content_hash
    assert bounded.content_hash != plain.content_hash  # D has no bar on its first days


def test_session_that_names_nobody_gets_all_who_were_in_at_any_moment(catalog: Catalog) -> None:
    members = load(catalog, Filters(), [])
    ever = Universe(catalog, "INDEX").ever_members(day(8), day(DAYS))
    assert tuple(members.toggles) == ever
    tech = Universe(catalog, "TECH").ever_members(day(8), day(DAYS))
    members = load(catalog, Filters(sectors=("TECH",)), [])
    assert tuple(members.toggles) == tuple(each for each in ever if each in tech)
    with pytest.raises(DataError, match="INDEX has no member in that time"):
        load_market_data(catalog, [], "1d", day(-9), day(-8),
                         reading=Reading(universe=UniverseChoice(name="INDEX")))  # fmt: skip


def test_older_version_has_the_members_of_then(catalog: Catalog) -> None:
    before = load(catalog, Filters()).pin
    gone = {"ts_event": np.array([day(DAYS - 1)]), "name": np.array(["A.X"]),
            "value": np.array([0.0])}  # fmt: skip
    catalog.records.write(RecordKind.MEMBERSHIP, "OTHER", gone, source="s", ts_ingest=2)
    reading = Reading(universe=UniverseChoice(name="INDEX"))
    again = load_market_data(
        catalog, NAMES, "1d", day(8), day(DAYS), {"INDEX": before.table_version}, reading=reading
    ).universe
    assert again is not None
    assert again.pin == before
    assert load(catalog, Filters()).pin.table_version == before.table_version + 1


def test_bounds_on_adjusted_prices_or_without_bars_are_refused(tmp_path: Path) -> None:
    made = Catalog(tmp_path)
    bars = make_columns(DAYS)
    made.write_bars(NAMES[0], "1d", bars, source="s", adjustment="vendor", ts_ingest=1,
                    definition=make_equity(NAMES[0]))  # fmt: skip
    ts = bars["ts_close"]
    prints = {"ts_event": ts, "price": bars["close"], "size": np.full(len(ts), 1.0)}
    made.records.write(RecordKind.TRADES, NAMES[0], prints, source="s", ts_ingest=1)
    first = {"ts_event": ts[:1], "name": np.array(["A.X"]), "value": np.array([1.0])}
    made.records.write(RecordKind.MEMBERSHIP, "INDEX", first, source="s", ts_ingest=1)

    assert load(made, Filters(), [], timeframe="trades").members_at(day(9)) == ("A.X",)
    assert load(made, Filters(), []).members_at(day(9)) == ("A.X",)
    with pytest.raises(DataError, match=r"those of A.X are adjusted \(vendor\)"):
        load(made, Filters(min_price=5), [])
    with pytest.raises(DataError, match="universe INDEX has bounds of price"):
        load(made, Filters(min_price=5), [], timeframe="trades")
