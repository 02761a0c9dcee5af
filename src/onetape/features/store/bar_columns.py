"""Features over the bars of a catalog: columns from memory, from disk, or computed now."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.nearest import nearest
from onetape.features.columns import compute_feature_columns
from onetape.features.estimator import Estimator
from onetape.features.registry import FeatureDefinition, FeatureRegistry
from onetape.features.state import FloatColumn
from onetape.features.store.tables import ColumnKey, FeatureTables, IntColumn, StoredColumn
from onetape.marketdata.bars import BarColumns, compute_content_hash
from onetape.marketdata.catalog import Catalog, Dataset

KEPT_MAX = 256
"""Columns that a store keeps in memory; the one that was not asked for the longest goes first."""

Find = Callable[[str], tuple[FeatureDefinition | None, Estimator]]


class FeatureColumn(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A feature over the bars or ticks of one instrument.

    `version` is that of the definition and of all that it is made of, `data` the content hash of
    the bars, or what changes with any tick up to the last. `values` stand at the bars' closes or
    the ticks' `ts_event`, `ts_close`, and were known at `ts_known` (ns UTC), all of shape (rows,).
    `is_stored` says whether the catalog holds them.
    """

    name: str
    instrument: InstrumentId
    version: str
    data: str
    ts_close: IntColumn
    ts_known: IntColumn
    values: FloatColumn
    is_stored: bool


class BarFeatures:
    """Features over the bars of a catalog. Making one touches nothing.

    Args:
        registry: What features read each other by name from.
        catalog: Where the bars are, and the columns.
        timeframe: Length of the bars.
        find: The definition of a name, where the registry has it, and the feature.
    """

    def __init__(
        self, registry: FeatureRegistry, catalog: Catalog, timeframe: str, find: Find
    ) -> None:
        self.registry = registry
        self.catalog = catalog
        self.timeframe = timeframe
        self.tables = FeatureTables(catalog.path)
        self._find = find
        self._kept: OrderedDict[ColumnKey, FeatureColumn] = OrderedDict()
        self._datasets: dict[str, Dataset] = {}
        self._bars: tuple[str, BarColumns] | None = None

    def refresh(self) -> None:
        """Look at the catalog anew."""
        self._datasets.clear()
        self._bars = None

    def read(self, symbol: str) -> BarColumns:
        """The bars of an instrument.

        Raises:
            DataError: There are no such bars.
        """
        return self._read(self._dataset(symbol))

    def write(self, columns: Sequence[FeatureColumn]) -> None:
        """Store the columns that are not; raises as `FeatureTables.write`."""
        new = {
            self._key(each.instrument, each.version, each.data): each
            for each in columns
            if not each.is_stored
        }
        self.tables.write(
            [
                (key, StoredColumn(ts_close=each.ts_close, ts_known=each.ts_known,
                                   values=each.values))
                for key, each in new.items()
            ]
        )  # fmt: skip
        for key, each in new.items():
            self._kept[key] = msgspec.structs.replace(each, is_stored=True)

    def column(self, feature: str, symbol: str) -> FeatureColumn:
        """All values of a feature over the bars of one instrument.

        Raises:
            StrategyError: There is no such feature, or what it is made of is wrong.
            DataError: There are no such bars, or fewer than its warm-up.
        """
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
                columns[name] = self.column(each.key, dataset.instrument).values
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
