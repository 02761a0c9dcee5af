"""Feature columns on disk: Delta tables beside the catalog's bars.

| table         | partitions                                | rows                            |
| ------------- | ----------------------------------------- | ------------------------------- |
| `features`    | `timeframe, instrument, definition, data` | `ts_close`, `ts_known`, `value` |
| `definitions` |                                           | `name`, `number`, `definition`, |
|               |                                           | `source`                        |

`definition` is the version of a feature, `data` the content hash of the bars it was computed from:
together they say what the values are, so a column is never wrong, only missing. `source` is the
definition itself as JSON (see `onetape.features.archive`), so what computed a column stays known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.features.archive import ArchivedFeature
from onetape.features.state import FloatColumn
from onetape.marketdata.delta_table import commit, list_files, open_table, read_files

IntColumn = npt.NDArray[np.int64]

_VALUES = ("ts_close", "ts_known", "value")
_KEYS = ("timeframe", "instrument", "definition", "data")
_DEFINED = ("name", "number", "definition", "source")


class ColumnKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a column is of; see the module."""

    timeframe: str
    instrument: str
    definition: str
    data: str


class StoredColumn(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Values at the close of every bar. Times are ns UTC, all of shape (rows,)."""

    ts_close: IntColumn
    ts_known: IntColumn
    values: FloatColumn


class KnownDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A definition that a column was computed by."""

    name: str
    number: int
    definition: str
    source: str


class FeatureTables:
    """The two tables of one catalog folder. Making one touches nothing."""

    def __init__(self, catalog: Path) -> None:
        self._features = catalog / "features"
        self._definitions = catalog / "definitions"

    def keys(self) -> dict[ColumnKey, int]:
        """What there is, and how many rows of each."""
        table = open_table(self._features)
        if table is None:
            return {}
        files = list_files(table, self._features)
        columns = [files[f"partition.{each}"].to_list() for each in _KEYS]
        found: dict[ColumnKey, int] = {}
        for *key, rows in zip(*columns, files["num_records"], strict=True):
            made = ColumnKey(**dict(zip(_KEYS, key, strict=True)))
            found[made] = found.get(made, 0) + rows
        return dict(sorted(found.items(), key=lambda item: msgspec.structs.astuple(item[0])))

    def read(self, key: ColumnKey) -> StoredColumn | None:
        """A column; None where it is not stored.

        Raises:
            DataError: A file of it is gone or damaged.
        """
        import polars as pl

        table = open_table(self._features)
        if table is None:
            return None
        files = list_files(table, self._features)
        here = pl.all_horizontal(
            pl.col(f"partition.{name}") == getattr(key, name) for name in _KEYS
        )
        chosen = files.filter(here)["file"].to_list()
        if not chosen:
            return None
        frame = read_files(chosen, _VALUES, self._features)
        return StoredColumn(
            ts_close=frame["ts_close"].to_numpy(),
            ts_known=frame["ts_known"].to_numpy(),
            values=frame["value"].to_numpy(),
        )

    def write(self, columns: Sequence[tuple[ColumnKey, StoredColumn]]) -> None:
        """Add columns that are not stored, in one commit.

        Raises:
            DataError: The disk refuses.
            TryAgain: Somebody else wrote at the same time.
        """
        import polars as pl

        frames = [
            pl.DataFrame(
                {"ts_close": each.ts_close, "ts_known": each.ts_known, "value": each.values}
            ).with_columns(**{name: pl.lit(getattr(key, name), pl.String) for name in _KEYS})
            for key, each in columns
        ]
        if frames:
            commit(
                self._features, open_table(self._features), pl.concat(frames), partition_by=_KEYS
            )

    def definitions(self) -> list[KnownDefinition]:
        """Every definition that a column was computed by, by name and number."""
        table = open_table(self._definitions)
        if table is None:
            return []
        files = list_files(table, self._definitions)["file"].to_list()
        rows = read_files(files, _DEFINED, self._definitions).rows()
        return [KnownDefinition(**dict(zip(_DEFINED, row, strict=True))) for row in sorted(rows)]

    def define(self, definitions: Iterable[KnownDefinition]) -> None:
        """Add definitions; one that is there already is left alone.

        Raises:
            DataError: The disk refuses.
            TryAgain: Somebody else wrote at the same time.
        """
        import polars as pl

        known = self.definitions()
        new = [each for each in definitions if each not in known]
        if new:
            rows = [msgspec.structs.astuple(each) for each in new]
            frame = pl.DataFrame(rows, schema=list(_DEFINED), orient="row")
            commit(self._definitions, open_table(self._definitions), frame)

    def decode(self, source: str) -> ArchivedFeature:
        """The definition of a row.

        Raises:
            DataError: It is none.
        """
        try:
            return msgspec.json.decode(source, type=ArchivedFeature)
        except msgspec.MsgspecError as error:
            raise DataError(
                f"a definition can't be read: {error}", where=str(self._definitions),
                remedy="was it written by a newer onetape?",
            ) from None  # fmt: skip
