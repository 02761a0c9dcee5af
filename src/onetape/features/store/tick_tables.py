"""Feature columns of ticks on disk, a day each: the Delta table `tick_features`.

Partitioned by `timeframe, instrument, definition, data, day`, with rows of `ts_event`, `ts_known`
and `value`. `data` changes with any tick of the day or one before it, so the values of a day are
never wrong, only missing, and a new day leaves those before it alone. Each version of the table
tells which version of the records it was computed from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from onetape.features.store.tables import StoredColumn
from onetape.marketdata.delta_table import commit, list_files, open_table, read_files

_VALUES = ("ts_event", "ts_known", "value")
_KEYS = ("timeframe", "instrument", "definition", "data", "day")


class TickKey(msgspec.Struct, frozen=True, kw_only=True):
    """What the values of a day are of; see the module. `day` counts from 1970, UTC."""

    timeframe: str
    instrument: str
    definition: str
    data: str
    day: int


class StoredDay(msgspec.Struct, frozen=True, kw_only=True):
    """Where the values of a day are, and how many."""

    files: tuple[str, ...]
    rows: int


class TickTables:
    """The table of one catalog folder. Making one touches nothing."""

    def __init__(self, catalog: Path) -> None:
        self._path = catalog / "tick_features"

    def find(self) -> dict[TickKey, StoredDay]:
        """What there is."""
        table = open_table(self._path)
        if table is None:
            return {}
        files = list_files(table, self._path)
        columns = [files[f"partition.{each}"].to_list() for each in _KEYS]
        found: dict[TickKey, StoredDay] = {}
        for *texts, day, file, rows in zip(
            *columns, files["file"], files["num_records"], strict=True
        ):
            key = TickKey(**dict(zip(_KEYS, texts, strict=False)), day=int(day))
            before = found.get(key, StoredDay(files=(), rows=0))
            found[key] = StoredDay(files=(*before.files, file), rows=before.rows + rows)
        return found

    def read(self, day: StoredDay) -> StoredColumn:
        """The values of a day at their `ts_event`.

        Raises:
            DataError: A file of it is gone or damaged.
        """
        frame = read_files(day.files, _VALUES, self._path)
        return StoredColumn(
            ts_close=frame["ts_event"].to_numpy(),
            ts_known=frame["ts_known"].to_numpy(),
            values=frame["value"].to_numpy(),
        )

    def write(self, days: Sequence[tuple[TickKey, StoredColumn]], *, records: int | None) -> None:
        """Add the values of days that are not stored, in one commit.

        Args:
            days: What and where.
            records: The version of the records that they were computed from.

        Raises:
            DataError: The disk refuses.
            TryAgain: Somebody else wrote at the same time.
        """
        import polars as pl

        frames = [
            pl.DataFrame({"ts_event": each.ts_close, "ts_known": each.ts_known,
                          "value": each.values}).with_columns(
                **{name: pl.lit(str(getattr(key, name)), pl.String) for name in _KEYS}
            )
            for key, each in days
        ]  # fmt: skip
        if frames:
            commit(
                self._path, open_table(self._path), pl.concat(frames), partition_by=_KEYS,
                metadata={"records": records},
            )  # fmt: skip
