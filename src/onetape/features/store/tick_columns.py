"""Features over ticks: a day at a time, from memory, from disk, or computed now.

A value is that of the whole column up to its row: windows go on over midnight, as in a session. So
a day that is not stored is computed from the first day on; memory is that of a day, whatever the
history.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.timestamps import NS_PER_DAY
from onetape.features.columns import count_updates, naming, pays_to_compile, select_inputs
from onetape.features.estimator import Estimator
from onetape.features.pieces import ColumnPieces
from onetape.features.store.tables import StoredColumn
from onetape.features.store.tick_tables import StoredDay, TickKey, TickTables
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.tick_days import TickDay, TickDays

KEPT_DAYS = 8
"""Days of values that are kept in memory; the one that was not asked for the longest goes first."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A feature to compute: its name as it was asked for, and the line that registered it."""

    name: str
    estimator: Estimator
    version: str
    place: str


class DayColumn(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A feature over one day of ticks. `is_stored` says whether the catalog holds the values."""

    key: TickKey
    column: StoredColumn
    is_stored: bool


class TickFeatures:
    """Features over the ticks of a catalog. Making one touches nothing.

    Args:
        catalog: Where the ticks are, and the columns.
        what: What they are: `trades`, `quotes` or `quotes+trades`.
    """

    def __init__(self, catalog: Catalog, what: str) -> None:
        self._catalog = catalog
        self._what = what
        self.tables = TickTables(catalog.path)
        self._ticks: dict[str, TickDays] = {}
        self._kept: OrderedDict[TickKey, DayColumn] = OrderedDict()

    def ticks(self, symbol: str) -> TickDays:
        """The days of an instrument, as they were when it was first asked for.

        Raises:
            DataError: It has no such ticks.
        """
        if symbol not in self._ticks:
            self._ticks[symbol] = TickDays(self._catalog, symbol, self._what)
        return self._ticks[symbol]

    def symbols(self) -> list[str]:
        """The instruments that have such ticks, by id."""
        kinds = self._what.split("+")
        have = {(each.dataset, each.kind) for each in self._catalog.records.datasets()}
        return sorted({name for name, _ in have if all((name, kind) in have for kind in kinds)})

    def refresh(self) -> None:
        """Look at the catalog anew."""
        self._ticks.clear()

    def newest(self, feature: Wanted, symbol: str, time: int) -> tuple[int, float] | None:
        """When the newest value known at `time` (ns UTC) became known, and the value; or None.

        Raises:
            DataError: There are no such ticks, or fewer than its warm-up.
        """
        days = self.ticks(symbol).days
        self._check([feature], symbol)
        last = sum(each.day <= time // NS_PER_DAY for each in days)  # later ones were not known
        for at in reversed(range(last)):
            column = self._read_day(feature, symbol, at).column
            row = int(column.ts_known.searchsorted(time, side="right")) - 1
            if row >= 0:
                return int(column.ts_known[row]), float(column.values[row])
        return None

    def stream(self, features: Sequence[Wanted], symbol: str) -> Iterator[list[DayColumn]]:
        """The values of some features of every day; raises as `newest`.

        The ticks are read where a day of a feature is not stored, and once for all features.
        """
        self._check(features, symbol)
        yield from self._walk(features, symbol, 0, len(self.ticks(symbol).days))

    def write(self, columns: Sequence[DayColumn], symbol: str) -> None:
        """Store what is not; raises as `TickTables.write`."""
        new = {each.key: each.column for each in columns if not each.is_stored}
        self.tables.write(list(new.items()), records=self.ticks(symbol).version)

    def _check(self, features: Sequence[Wanted], symbol: str) -> None:
        rows = sum(each.rows for each in self.ticks(symbol).days)
        for each in features:
            if each.estimator.warm_up > rows:
                raise DataError(
                    f"its first value stands at row {each.estimator.warm_up:,}, and there are "
                    f"{rows:,} {self._what} of {symbol}",
                    where=f"{each.place}: feature {each.name}" if each.place else each.name,
                    remedy="use a shorter window or import more history",
                )

    def _read_day(self, feature: Wanted, symbol: str, at: int) -> DayColumn:
        key = self._key(feature, symbol, self.ticks(symbol).days[at])
        if key not in self._kept:
            for (each,) in self._walk([feature], symbol, max(0, at - KEPT_DAYS + 1), at + 1):
                self._keep(each)
        self._kept.move_to_end(key)
        return self._kept[key]

    def _keep(self, column: DayColumn) -> None:
        self._kept[column.key] = column
        if len(self._kept) > KEPT_DAYS:
            self._kept.popitem(last=False)

    def _walk(
        self, features: Sequence[Wanted], symbol: str, first: int, stop: int
    ) -> Iterator[list[DayColumn]]:
        """The days from `first` up to, but not including, `stop`."""
        ticks = self.ticks(symbol)
        found = self.tables.find()
        keys = [[self._key(each, symbol, day) for each in features] for day in ticks.days]
        asked = keys[first:stop]
        open_ = [any(row[at] not in found for row in asked) for at in range(len(features))]
        if not any(open_):
            for row in asked:
                yield [self._load(key, found[key]) for key in row]
            return
        rows = sum(each.rows for each in ticks.days[:stop])
        updates = rows * sum(
            count_updates(each.estimator) for each, is_open in zip(features, open_, strict=True)
            if is_open
        )  # fmt: skip
        is_compiled = pays_to_compile(updates)
        pieces = [ColumnPieces(each.estimator, is_compiled=is_compiled) for each in features]
        for at, (_, columns) in enumerate(ticks.stream()):
            if at == stop:
                break
            made: list[DayColumn] = []
            for feature, piece, is_open, key in zip(
                features, pieces, open_, keys[at], strict=True
            ):  # fmt: skip
                values = None
                if is_open:  # also the days before, which it goes on from
                    inputs = select_inputs(feature.name, feature.estimator, columns)
                    with naming(feature.name):
                        values = piece.take(inputs)
                if at < first:
                    continue
                if key in found or values is None:
                    made.append(self._load(key, found[key]))
                    continue
                column = StoredColumn(
                    ts_close=columns["ts_event"], ts_known=columns["ts_known"], values=values
                )
                made.append(DayColumn(key=key, column=column, is_stored=False))
            if at >= first:
                yield made

    def _load(self, key: TickKey, day: StoredDay) -> DayColumn:
        return DayColumn(key=key, column=self.tables.read(day), is_stored=True)

    def _key(self, feature: Wanted, symbol: str, day: TickDay) -> TickKey:
        return TickKey(
            timeframe=self._what, instrument=symbol, definition=feature.version, data=day.data,
            day=day.day,
        )  # fmt: skip
