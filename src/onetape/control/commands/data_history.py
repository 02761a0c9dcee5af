"""`onetape data versions`, `diff` and `asof`: what the catalog knew, and when."""

from __future__ import annotations

from typing import Annotated

import typer

from onetape.control.options import DEFAULT_CATALOG, CatalogOption, DebugOption, JsonOption
from onetape.control.terminal import print_json, print_table
from onetape.domain.errors import DataError
from onetape.domain.timestamps import from_iso, to_iso

NameArgument = Annotated[str, typer.Argument(metavar="ID", help="Like AAPL.XNAS.")]
TimeframeOption = Annotated[
    str,
    typer.Option(metavar="TF", help="Bars of 1m, 1d, ... or records: trades, funding, ..."),
]


def versions(
    name: NameArgument,
    *,
    timeframe: TimeframeOption = "1d",
    catalog: CatalogOption = DEFAULT_CATALOG,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """List the versions that changed a dataset."""
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.history import list_changes

    changes = list_changes(Catalog(catalog), name, timeframe)
    if as_json:
        print_json(changes)
        return
    rows = [
        (str(each.version), to_iso(each.ts_ingest), f"{each.rows_written:,}",
         f"{each.rows_removed:,}", each.source)
        for each in changes
    ]  # fmt: skip
    print_table((">version", "taken in, UTC", ">rows written", ">rows removed", "source"), rows)


def diff(
    name: NameArgument,
    before: Annotated[int, typer.Argument(metavar="OLD", min=0, help="A version.")],
    after: Annotated[int, typer.Argument(metavar="NEW", min=0, help="Another version.")],
    *,
    timeframe: TimeframeOption = "1d",
    catalog: CatalogOption = DEFAULT_CATALOG,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Show the rows that two versions of a dataset don't share."""
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.history import list_differences

    found = list_differences(Catalog(catalog), name, timeframe, before, after)
    if as_json:
        print_json(found)
        return
    for each in found:
        old, new = each.before, each.after
        if old is None or new is None:
            what = "new" if old is None else "gone"
        else:
            what = ", ".join(f"{key} {old[key]} -> {new[key]}" for key in old)
        print(f"{to_iso(each.ts)}  {what}")
    print(f"{len(found):,} rows differ between version {before} and version {after}")


def asof(
    name: NameArgument,
    moment: Annotated[str, typer.Argument(metavar="TIME", help="ISO 8601, UTC unless told.")],
    *,
    timeframe: TimeframeOption = "1d",
    catalog: CatalogOption = DEFAULT_CATALOG,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Show which version of a dataset stood at a moment."""
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.history import find_records_version_at, find_version_at
    from onetape.marketdata.side_files import PINNED_KEYS

    ts = from_iso(moment, "TIME", error=DataError)
    store = Catalog(catalog)
    change = find_version_at(store, name, timeframe, ts)
    if as_json:
        print_json(change)
        return
    print(
        f"{name} {timeframe} at {to_iso(ts)}: version {change.version}, taken in at "
        f"{to_iso(change.ts_ingest)} from {change.source}"
    )
    key, version = name, change.version
    if timeframe in PINNED_KEYS:  # one version for all instruments of a session
        key, version = timeframe, find_records_version_at(store, ts) or 0
    print(f"Run on it: --set data.versions='{{{key}: {version}}}'")
