"""`FeatureStore`: the value of a feature at a time, from memory, from disk, or computed now."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from onetape.domain.errors import DataError, StrategyError
from onetape.domain.instrument import InstrumentId
from onetape.domain.nearest import nearest
from onetape.features.archive import archive_feature, load_feature
from onetape.features.columns import compute_feature_columns
from onetape.features.estimator import Estimator
from onetape.features.registry import FeatureDefinition, FeatureRegistry
from onetape.features.state import FloatColumn
from onetape.features.store.tables import (
    ColumnKey,
    FeatureTables,
    IntColumn,
    KnownDefinition,
    StoredColumn,
)
from onetape.marketdata.bars import BarColumns, compute_content_hash
from onetape.marketdata.catalog import Catalog, Dataset

KEPT_MAX = 256
"""Columns that a store keeps in memory; the one that was not asked for the longest goes first."""


class FeatureColumn(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A feature over the bars of one instrument.

    `version` is that of the definition and of all that it is made of, `data` the content hash of
    the bars. `values` stand at the bars' closes `ts_close` and were known at `ts_known` (ns UTC),
    all of shape (rows,). `is_stored` says whether the catalog holds them.
    """

    name: str
    instrument: InstrumentId
    version: str
    data: str
    ts_close: IntColumn
    ts_known: IntColumn
    values: FloatColumn
    is_stored: bool


class FeatureStore:
    """The features of a registry over the bars of a catalog. Making one touches nothing.

    Nothing is computed before it is asked for, and nothing twice: a column is kept in memory, and
    with `build` in the catalog, under the version of its definition and the content of its bars. So
    another definition or other bars are another column, and no column is ever out of date.

    Args:
        registry: The features.
        catalog: Where the bars are, and the columns.
        timeframe: Length of the bars.
    """

    def __init__(self, registry: FeatureRegistry, catalog: Catalog, timeframe: str) -> None:
        self.registry = registry
        self.catalog = catalog
        self.timeframe = timeframe
        self.tables = FeatureTables(catalog.path)
        self._kept: OrderedDict[ColumnKey, FeatureColumn] = OrderedDict()
        self._datasets: dict[str, Dataset] = {}
        self._bars: tuple[str, BarColumns] | None = None

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
            DataError: There are no such bars, or fewer than its warm-up.
        """
        found: dict[InstrumentId, float] = {}
        for each in symbols:
            column = self.column(feature, each)
            row = int(np.searchsorted(column.ts_known, time, side="right")) - 1
            found[column.instrument] = float(column.values[row]) if row >= 0 else float("nan")
        return found

    def column(self, feature: str, symbol: str) -> FeatureColumn:
        """All values of `feature` over the bars of one instrument; raises as `get`."""
        return self._column(feature, symbol)

    def refresh(self) -> None:
        """Look at the catalog anew: another process may have imported bars."""
        self._datasets.clear()
        self._bars = None

    def build(self, features: Iterable[str], symbols: Sequence[str]) -> list[FeatureColumn]:
        """Compute the columns that the catalog does not hold yet, and store them.

        Returns:
            The columns asked for; of those that were stored before `is_stored` is true.

        Raises:
            StrategyError: As `get`.
            DataError: As `get`; or the disk refuses.
            TryAgain: Somebody else wrote at the same time.
        """
        names = list(features)
        columns: list[FeatureColumn] = []
        for symbol in symbols:
            made = [self.column(each, symbol) for each in names]
            new = {
                self._key(each.instrument, each.version, each.data): each
                for each in made
                if not each.is_stored
            }
            self.tables.define(known for each in names if (known := self._describe(each)))
            self.tables.write(
                [
                    (key, StoredColumn(ts_close=each.ts_close, ts_known=each.ts_known,
                                       values=each.values))
                    for key, each in new.items()
                ]
            )  # fmt: skip
            for key, each in new.items():
                self._kept[key] = msgspec.structs.replace(each, is_stored=True)
            columns += made
        return columns

    def _column(self, feature: str, symbol: str) -> FeatureColumn:
        definition, estimator = self._find(feature)
        dataset = self._dataset(symbol)
        key = self._key(symbol, estimator.version, dataset.content_hash)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        stored = self.tables.read(key)
        if stored is None:
            stored, is_stored = self._compute(definition, estimator, dataset), False
        else:
            is_stored = True
        made = FeatureColumn(
            name=feature, instrument=dataset.instrument, version=key.definition, data=key.data,
            ts_close=stored.ts_close, ts_known=stored.ts_known, values=stored.values,
            is_stored=is_stored,
        )  # fmt: skip
        self._kept[key] = made
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return made

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

    def _compute(
        self, definition: FeatureDefinition | None, estimator: Estimator, dataset: Dataset
    ) -> StoredColumn:
        """The column, from those of what it reads by name, which are computed once for all."""
        bars = self._read(dataset)
        rows = len(bars["ts_close"])
        if estimator.warm_up > rows:
            raise DataError(
                f"its first value stands at bar {estimator.warm_up:,}, and there are {rows:,} "
                f"{self.timeframe} bars of {dataset.instrument}",
                where=f"{definition.place}: feature {definition.name}" if definition else "",
                remedy="use a shorter window or import more history",
            )
        columns = dict(bars)
        if definition is not None and definition.reads:
            estimator = definition.estimator
            for name, each in zip(definition.reads, self.registry.reads(definition), strict=True):
                columns[name] = self._column(each.key, dataset.instrument).values
        name = definition.name if definition else type(estimator).__name__
        values = compute_feature_columns({name: estimator}, columns)[name]
        return StoredColumn(ts_close=bars["ts_close"], ts_known=bars["ts_known"], values=values)

    def _key(self, symbol: str, version: str, data: str) -> ColumnKey:
        return ColumnKey(timeframe=self.timeframe, instrument=symbol, definition=version, data=data)

    def _dataset(self, symbol: str) -> Dataset:
        if symbol not in self._datasets:
            listed = [each for each in self.catalog.datasets() if each.timeframe == self.timeframe]
            self._datasets = {each.instrument: each for each in listed}
        if symbol not in self._datasets:
            raise DataError(
                f"there are no {self.timeframe} bars of {symbol} in the catalog",
                where=str(self.catalog.path), remedy=nearest(symbol, self._datasets),
            )  # fmt: skip
        return self._datasets[symbol]

    def _read(self, dataset: Dataset) -> BarColumns:
        """The bars of a dataset; the last one read is kept, for the next feature."""
        if self._bars is None or self._bars[0] != dataset.instrument:
            version = dataset.version
            bars = self.catalog.read_bars(dataset.instrument, self.timeframe, version=version)
            if compute_content_hash(bars) != dataset.content_hash:
                raise DataError(
                    f"{dataset.instrument} {self.timeframe} holds other bars than version "
                    f"{version} had", where=str(self.catalog.path),
                    remedy="restore the catalog from a copy, or import again into a new one",
                )  # fmt: skip
            self._bars = (dataset.instrument, bars)
        return self._bars[1]
