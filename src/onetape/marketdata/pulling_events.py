"""Corporate actions and funding from a provider into the catalog, in one commit.

There are few of them, so all of the asked time is asked for, and compared with what is stored: new
ones join, changed ones are refused or replace the stored ones in a new version.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.instrument import Instrument
from onetape.domain.market import CorporateActionKind
from onetape.domain.timestamps import to_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_kinds import RecordColumns, RecordKind
from onetape.marketdata.records import RecordDataset
from onetape.marketdata.sources.port import BarSource, EventSource
from onetape.marketdata.stored_events import to_columns

PULLED_KINDS = (RecordKind.CORPORATE_ACTIONS, RecordKind.FUNDING)

ROUNDING_RATIO = 5e-4
"""Dividends that differ by less are the same: some providers divide them by later splits, and what
that leaves of their decimals is not enough to multiply them back."""


class EventsResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a pull did; `rows` is 0 and `version` None where there are no such records at all."""

    rows_written: int
    rows: int
    version: int | None
    warnings: tuple[str, ...]


def find_first(catalog: Catalog, instrument: str, kind: RecordKind) -> int | None:
    """Where a pull goes on from: the last stored funding, the first stored action; None: nothing.

    Actions are asked for from the first one on, since what a provider says of old ones changes.
    """
    stored = _find(catalog, instrument, kind)
    if stored is None:
        return None
    return stored.ts_last if kind is RecordKind.FUNDING else stored.ts_first


def pull_events(
    source: BarSource,
    catalog: Catalog,
    instrument: Instrument,
    kind: RecordKind,
    span: tuple[int, int],
    *,
    replace: bool,
    clock_ns: Callable[[], int],
) -> EventsResult:
    """Brings the records of `span` (ns UTC, half open) into the catalog, as far as they are new.

    Args:
        source: The provider.
        catalog: Where they go.
        instrument: Whose.
        kind: One of `PULLED_KINDS`.
        span: What is not over yet is left out.
        replace: Whether changed records replace stored ones, those of another source too.
        clock_ns: The adapter's clock, ns UTC; it gives `ts_ingest`.

    Raises:
        ConfigError: The provider has no such records, or refuses the key.
        DataError: The dataset is of another source, the provider has changed what it said before,
            or refuses.
        SourceUnavailable: It can't be reached; nothing was written.
    """
    where = f"{instrument.id} {kind.value} from {source.name}"
    if not isinstance(source, EventSource) or kind not in source.event_kinds:
        raise ConfigError(f"{source.name} gives no {kind.value.replace('_', ' ')}",
                          remedy="import a file: onetape data import-records")  # fmt: skip
    stored = _find(catalog, instrument.id, kind)
    if stored is not None and stored.source != source.name and not replace:
        raise DataError(f"the catalog has these records from {stored.source!r}", where=where,
                        remedy="pull into another catalog, or replace")  # fmt: skip
    now = clock_ns()
    answer = source.events(instrument, kind, span[0], now)
    told = list(answer.warnings)
    columns = to_columns(answer.rows) if answer.rows else None
    if columns is not None:
        kept = (columns["ts_event"] >= span[0]) & (columns["ts_event"] < min(span[1], now))
        columns = {name: column[kept] for name, column in columns.items()}
        if stored is not None and not replace:
            told += _keep_stored(columns, catalog.records.read(kind, instrument.id).columns)
    written = 0
    if columns is not None and len(columns["ts_event"]):
        written = catalog.records.write(
            kind, instrument.id, columns, source=source.name, ts_ingest=now, replace=replace
        ).rows_written
    after = _find(catalog, instrument.id, kind)
    return EventsResult(
        rows_written=written,
        rows=0 if after is None else after.rows,
        version=None if after is None else after.version,
        warnings=tuple(told),
    )


def _find(catalog: Catalog, instrument: str, kind: RecordKind) -> RecordDataset | None:
    for each in catalog.records.datasets():
        if (each.kind, each.dataset) == (kind.value, instrument):
            return each
    return None


def _keep_stored(columns: RecordColumns, stored: RecordColumns) -> list[str]:
    """Puts the stored value of a dividend in place of one that differs by rounding; tells it."""
    if "name" not in columns:
        return []
    values = {
        (ts, name): value
        for ts, name, value in zip(
            *(stored[key].tolist() for key in ("ts_event", "name", "value")), strict=True
        )
        if name == CorporateActionKind.CASH_DIVIDEND.value
    }
    told: list[str] = []
    for row in range(len(columns["ts_event"])):
        ts = int(columns["ts_event"][row])
        value = values.get((ts, str(columns["name"][row])))
        new = float(columns["value"][row])
        if value not in (None, new) and np.isclose(new, value, rtol=ROUNDING_RATIO, atol=0):
            columns["value"][row] = value
            told.append(f"the dividend of {to_iso(ts)[:10]} is {new:g} now; the stored {value:g} "
                        "stays")  # fmt: skip
    return told
