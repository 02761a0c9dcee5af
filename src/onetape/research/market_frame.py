"""Market data of the catalog as a frame, for notebooks: `onetape.data("AAPL.XNAS", "1d")`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import from_iso
from onetape.marketdata.adjustment import Adjustment, adjust_bars
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.corporate_actions import ActionRow, place_rows, read_actions
from onetape.marketdata.history import find_version_at, read_as_known_then
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.side_files import IN_CATALOG
from onetape.marketdata.stored_events import StoredEvents
from onetape.marketdata.timeline import Knowledge

if TYPE_CHECKING:
    import polars as pl

_EVER = 2**63 - 1
_RECORDS = {each.value: each for each in RecordKind}


def read_frame(
    name: str,
    timeframe: str = "1d",
    *,
    catalog: Path | str = "data/catalog",
    version: int | None = None,
    as_of: str | None = None,
    knowledge: Knowledge = "now",
    adjust: str = "raw",
    actions: Path | str | None = None,
) -> pl.DataFrame:
    """Bars or records as a polars frame, times as UTC datetimes; `.to_pandas()` gives pandas.

    Args:
        name: An instrument's id, or a universe's name.
        timeframe: Length of the bars, or the kind of records (`trades`, `quotes`, ...).
        catalog: Its folder.
        version: Which version; the newest if absent.
        as_of: A moment, ISO 8601: only rows known by then, adjusted for actions known by then.
        knowledge: Corrected bars as they are `now` (in that version), or `then`, as first stored.
        adjust: `raw`, `split`, `dividend` or `total_return`; see `marketdata/adjustment.py`.
        actions: The corporate actions that adjusting needs: a CSV file, or `catalog`.

    Raises:
        DataError: There is no such dataset or version, or an argument is wrong.
    """
    import polars as pl

    store = Catalog(Path(catalog))
    kinds = {each.value: each for each in Adjustment}
    if adjust not in kinds:
        raise DataError(f"adjustment {adjust!r} is unknown", remedy=nearest(adjust, kinds))
    ts_now = _EVER if as_of is None else from_iso(as_of, "as_of", error=DataError)
    if timeframe in _RECORDS:
        if adjust != "raw" or knowledge != "now":
            raise DataError(f"{timeframe} are neither adjusted nor read as known then",
                            where=name, remedy="bars are")  # fmt: skip
        columns = store.records.read(_RECORDS[timeframe], name, version=version).columns
        columns = {key: column[columns["ts_known"] <= ts_now] for key, column in columns.items()}
    else:
        if knowledge == "then":
            newest = find_version_at(store, name, timeframe, _EVER).version
            chosen = newest if version is None else version
            columns = read_as_known_then(store, name, timeframe, chosen)
        else:
            columns = store.read_bars(name, timeframe, version=version)
        definition = store.instrument(name)
        placed = []
        if actions is not None:
            rows = _read_actions(store, Path(actions), definition.id)
            placed = [
                each
                for each in place_rows(rows, [(definition, columns)], _EVER)
                if each.instrument == definition.id
            ]
        elif adjust != "raw":
            raise DataError("adjusting needs corporate actions", where=name,
                            remedy="give actions=, a CSV file or 'catalog'")  # fmt: skip
        columns = adjust_bars(columns, placed, kinds[adjust], ts_now)
    times = [key for key in columns if key.startswith("ts_") or key == "session_close"]
    return pl.DataFrame({key: np.asarray(column) for key, column in columns.items()}).with_columns(
        pl.col(times).cast(pl.Datetime("ns", "UTC"))
    )


def _read_actions(store: Catalog, actions: Path, instrument: InstrumentId) -> list[ActionRow]:
    known = store.instruments()
    if actions != IN_CATALOG:
        return read_actions(actions, known)
    return StoredEvents(store, RecordKind.CORPORATE_ACTIONS, [instrument], None).actions(known)
