"""`FeatureStore`: the value of a feature at a time, from memory, from disk, or computed now.

Of bars a column is kept as a whole, of ticks day by day (`tick_columns.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import StrategyError
from onetape.domain.instrument import InstrumentId
from onetape.features.archive import archive_feature, load_feature
from onetape.features.estimator import Estimator
from onetape.features.registry import FeatureDefinition, FeatureRegistry
from onetape.features.state import FloatColumn
from onetape.features.store.bar_columns import BarFeatures, FeatureColumn
from onetape.features.store.tables import FeatureTables, KnownDefinition
from onetape.features.store.tick_columns import TickFeatures, Wanted
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.loading import TICK_DATA


class BuiltColumn(msgspec.Struct, frozen=True, kw_only=True):
    """What `build` did for a feature and an instrument; `was_stored` where there was nothing to do.

    `nan_rows` of the `rows` have no value.
    """

    name: str
    instrument: InstrumentId
    version: str
    rows: int
    nan_rows: int
    was_stored: bool


class KnownValue(msgspec.Struct, frozen=True, kw_only=True):
    """The newest value that was known at a time; `ts_known` is None and `value` NaN before any."""

    instrument: InstrumentId
    ts_known: int | None
    value: float


class FeatureStore:
    """The features of a registry over the bars or ticks of a catalog. Making one touches nothing.

    Nothing is computed before it is asked for, and nothing twice: a column is kept in memory, and
    with `build` in the catalog, under the version of its definition and the content of its bars. So
    another definition or other bars are another column, and no column is ever out of date. Of ticks
    the same holds day by day, and memory is that of a day unless `column` asks for all.

    Args:
        registry: The features.
        catalog: Where the bars or ticks are, and the columns.
        timeframe: Length of the bars; or `trades`, `quotes`, `quotes+trades`.
    """

    def __init__(self, registry: FeatureRegistry, catalog: Catalog, timeframe: str) -> None:
        self.registry = registry
        self.catalog = catalog
        self.timeframe = timeframe
        self.tables = FeatureTables(catalog.path)
        self._bars = BarFeatures(registry, catalog, timeframe, self._find)
        self._ticks = TickFeatures(catalog, timeframe) if timeframe in TICK_DATA else None

    def get(self, feature: str, symbols: Sequence[str], time: int) -> dict[InstrumentId, float]:
        """The newest value of `feature` that was known at `time`, for each instrument.

        Args:
            feature: A name of the registry, or `name@number`; a version that only the catalog
                still knows is computed by the definition that is archived there.
            symbols: Ids of instruments.
            time: ns UTC.

        Returns:
            NaN where nothing was known yet.

        Raises:
            StrategyError: There is no such feature, or what it is made of is wrong.
            DataError: There are no such bars or ticks, or fewer than its warm-up.
        """
        known = [self.newest(feature, each, time) for each in symbols]
        return {each.instrument: each.value for each in known}

    def newest(self, feature: str, symbol: str, time: int) -> KnownValue:
        """As `get`, of one instrument, with the time at which it became known."""
        if self._ticks is not None:
            instrument = self._ticks.ticks(symbol).instrument.id
            found = self._ticks.newest(self._want(feature), symbol, time)
        else:
            column = self.column(feature, symbol)
            instrument = column.instrument
            row = int(np.searchsorted(column.ts_known, time, side="right")) - 1
            found = (int(column.ts_known[row]), float(column.values[row])) if row >= 0 else None
        if found is None:
            return KnownValue(instrument=instrument, ts_known=None, value=float("nan"))
        return KnownValue(instrument=instrument, ts_known=found[0], value=found[1])

    def column(self, feature: str, symbol: str) -> FeatureColumn:
        """All values of `feature` over one instrument, in memory; raises as `get`."""
        if self._ticks is None:
            return self._bars.column(feature, symbol)
        days = list(self.stream(feature, symbol))
        return msgspec.structs.replace(
            days[-1],
            ts_close=np.concatenate([each.ts_close for each in days]),
            ts_known=np.concatenate([each.ts_known for each in days]),
            values=np.concatenate([each.values for each in days]),
            is_stored=all(each.is_stored for each in days),
        )

    def stream(self, feature: str, symbol: str) -> Iterator[FeatureColumn]:
        """The values of `feature` over one instrument: ticks by UTC day, bars all at once."""
        if self._ticks is None:
            yield self._bars.column(feature, symbol)
            return
        for (each,) in self._ticks.stream([self._want(feature)], symbol):
            yield FeatureColumn(
                name=feature, instrument=self._ticks.ticks(symbol).instrument.id,
                version=each.key.definition, data=each.key.data, ts_close=each.column.ts_close,
                ts_known=each.column.ts_known, values=each.column.values, is_stored=each.is_stored,
            )  # fmt: skip

    def read_sample(self, symbol: str) -> Mapping[str, npt.NDArray[Any]]:
        """The columns that features read: of all bars, of the first day of ticks; raises as `get`.

        Whoever checks a feature runs it over these.
        """
        if self._ticks is None:
            return self._bars.read(symbol)
        return next(columns for _, columns in self._ticks.ticks(symbol).stream())

    @property
    def is_of_ticks(self) -> bool:
        """Whether it is of ticks, and not of bars."""
        return self._ticks is not None

    def stored(self) -> list[tuple[str, int]]:
        """What the catalog holds: the version and rows of each column of bars, or day of ticks."""
        if self._ticks is None:
            return [(key.definition, rows) for key, rows in self.tables.keys().items()]
        days = self._ticks.tables.find().items()
        return [(key.definition, day.rows) for key, day in days]

    def symbols(self) -> list[str]:
        """The instruments that have such bars or ticks, as the catalog lists them."""
        if self._ticks is None:
            listed = self.catalog.datasets()
            return [each.instrument for each in listed if each.timeframe == self.timeframe]
        return self._ticks.symbols()

    def refresh(self) -> None:
        """Look at the catalog anew: another process may have imported bars."""
        self._bars.refresh()
        if self._ticks is not None:
            self._ticks.refresh()

    def build(self, features: Iterable[str], symbols: Sequence[str]) -> list[BuiltColumn]:
        """Compute the columns that the catalog does not hold yet, and store them.

        Returns:
            What was done for each feature of each instrument.

        Raises:
            StrategyError: As `get`.
            DataError: As `get`; or the disk refuses.
            TryAgain: Somebody else wrote at the same time.
        """
        names = list(features)
        self.tables.define(known for each in names if (known := self._describe(each)))
        built: list[BuiltColumn] = []
        for symbol in symbols:
            if self._ticks is not None:
                built += self._build_ticks(self._ticks, names, symbol)
                continue
            columns = [self.column(each, symbol) for each in names]
            self._bars.write(columns)
            built += [_add(_begin(each.name, each.instrument, each.version), each.values,
                           is_stored=each.is_stored) for each in columns]  # fmt: skip
        return built

    def _build_ticks(self, ticks: TickFeatures, names: list[str], symbol: str) -> list[BuiltColumn]:
        wanted = [self._want(each) for each in names]
        instrument = ticks.ticks(symbol).instrument.id
        built = [_begin(each.name, instrument, each.version) for each in wanted]
        for day in ticks.stream(wanted, symbol):
            ticks.write(day, symbol)
            built = [
                _add(one, each.column.values, is_stored=each.is_stored)
                for one, each in zip(built, day, strict=True)
            ]
        return built

    def _want(self, feature: str) -> Wanted:
        definition, estimator = self._find(feature)
        return Wanted(
            name=feature, estimator=estimator, version=estimator.version,
            place=definition.place if definition is not None else "",
        )  # fmt: skip

    def _find(self, feature: str) -> tuple[FeatureDefinition | None, Estimator]:
        """The definition of the registry, or none, and the feature of the registry or archive."""
        try:
            return self.registry.find(feature), self.registry.resolve(feature)
        except StrategyError:
            name, _, number = feature.partition("@")
            for each in self.tables.definitions():
                if each.name == name and number in (str(each.number), each.definition):
                    return None, load_feature(self.tables.decode(each.source))
            raise

    def _describe(self, feature: str) -> KnownDefinition | None:
        """The row of a feature; None for one that came from there."""
        definition, estimator = self._find(feature)
        if definition is None:
            return None
        return KnownDefinition(
            name=definition.name,
            number=definition.number,
            definition=estimator.version,
            source=msgspec.json.encode(archive_feature(estimator)).decode(),
        )


def _begin(name: str, instrument: InstrumentId, version: str) -> BuiltColumn:
    return BuiltColumn(
        name=name, instrument=instrument, version=version, rows=0, nan_rows=0, was_stored=True
    )


def _add(built: BuiltColumn, values: FloatColumn, *, is_stored: bool) -> BuiltColumn:
    return msgspec.structs.replace(
        built,
        rows=built.rows + len(values),
        nan_rows=built.nan_rows + int(np.isnan(values).sum()),
        was_stored=built.was_stored and is_stored,
    )
