"""`onetape data import` of prints and quotes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from onetape.domain.errors import ConfigError

if TYPE_CHECKING:
    from onetape.domain.instrument import Instrument
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.importer import ImportOptions
    from onetape.marketdata.record_kinds import RecordKind


def store_ticks(
    store: Catalog,
    file: Path,
    definition: Instrument,
    kind: RecordKind,
    options: ImportOptions,
    *,
    ts_now: int,
    replace: bool,
) -> None:
    """Check the prints or quotes of one instrument, add them to the catalog, and tell.

    Raises:
        ConfigError: An option is of bars.
        DataError: Rows are bad, or differ from stored ones.
    """
    from onetape.marketdata.bar_times import TimeLabel
    from onetape.marketdata.tick_importer import import_ticks

    if options.adjust_by is not None or options.label is not TimeLabel.START:
        option = "--adjust-by" if options.adjust_by is not None else "--label"
        raise ConfigError(f"{kind.value} have no {option}", where=option, remedy="leave it out")
    ticks = import_ticks(file, definition, kind, options, ts_now=ts_now)
    store.write_instrument(definition, replace=replace)
    outcome = store.records.write(
        kind, definition.id, ticks.columns, source=ticks.source, ts_ingest=ts_now, replace=replace
    )
    for repaired, rows in ticks.repaired.items():
        print(f"repaired: {rows:,} rows by {repaired.value}", file=sys.stderr)
    for warning in ticks.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    written = "nothing new"
    if outcome.rows_written:
        written = f"{outcome.rows_written:,} rows written"
    if outcome.rows_removed:
        written += f" in place of {outcome.rows_removed:,}"
    print(f"{definition.id} {kind.value}: {written}, version {outcome.version}")
