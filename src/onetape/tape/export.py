"""A tape as a Parquet file: one row an event, written batch by batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onetape.domain.errors import DataError, TryAgain
from onetape.domain.events import Event
from onetape.tape.reader import BlockReader
from onetape.tape.render import fields_of

if TYPE_CHECKING:
    import polars as pl

_encode = json.JSONEncoder(separators=(",", ":")).encode
_BATCH_EVENTS = 8192
_ROW_GROUP = 65_536
_NUMBERS = ("seq", "ts_event", "ts_ingest", "correlation_id", "causation_id", "version")
_TEXTS = ("type", "source")


def export_parquet(reader: BlockReader, path: Path) -> int:
    """Write every event of a tape into a new file and return how many there are.

    Columns: `seq`, `ts_event` and `ts_ingest` (ns UTC), `type`, `source`, `payload` (JSON, as
    `event_to_json` has it), `correlation_id`, `causation_id`, `version`. Memory does not grow with
    the tape. The file appears whole or not at all, and the same tape gives the same rows.

    Raises:
        DataError: The file exists, or the tape can't be read.
        TryAgain: The file can't be written.
    """
    import polars as pl
    from polars.io.plugins import register_io_source

    if path.exists():
        raise DataError("the file exists, and nothing is overwritten", where=str(path),
                        remedy="remove it, or name another with --output")  # fmt: skip
    schema = _schema()
    failed: list[Exception] = []
    count = 0

    def batches(
        _columns: list[str] | None, _predicate: pl.Expr | None, _rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        nonlocal count
        events = reader.events()
        try:
            while batch := list(islice(events, _BATCH_EVENTS)):
                count += len(batch)
                yield pl.DataFrame(_columns_of(batch), schema=schema)
        except (DataError, TryAgain) as error:  # polars would put it into an error of its own
            failed.append(error)

    partial = path.with_name(f".{path.name}.partial")
    try:
        register_io_source(batches, schema=schema).sink_parquet(
            partial, compression="zstd", row_group_size=_ROW_GROUP
        )
        if failed:
            raise failed[0]
        partial.rename(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TryAgain(
            f"can't write: {error}", where=str(path), remedy="make room, or name another file"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _schema() -> dict[str, Any]:
    import polars as pl

    order = ("seq", "ts_event", "ts_ingest", "type", "source", "payload", *_NUMBERS[3:])
    return {name: pl.Int64 if name in _NUMBERS else pl.String for name in order}


def _columns_of(events: list[Event]) -> dict[str, list[Any]]:
    columns = {name: [getattr(each, name) for each in events] for name in (*_NUMBERS, *_TEXTS)}
    columns["payload"] = [_encode(fields_of(each)) for each in events]
    return columns
