"""`onetape data reconcile`: one series out of several providers'."""

from __future__ import annotations

import sys
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.control.options import DebugOption, JsonOption
from onetape.control.terminal import print_json, print_table
from onetape.domain.errors import ConfigError, DataError
from onetape.domain.timestamps import to_iso

if TYPE_CHECKING:
    from onetape.domain.instrument import Instrument
    from onetape.marketdata.catalog import Catalog, Dataset
    from onetape.marketdata.reconciliation import ProviderBars, Reconciled

_BPS = 10_000
_RECONCILED = "reconciled: "


class Policy(Enum):
    """What to do with a value that too few providers have."""

    FLAG = "flag"
    DROP = "drop"
    REFUSE = "refuse"


def reconcile(
    instrument: Annotated[str, typer.Argument(metavar="ID", help="Like AAPL.XNAS.")],
    *,
    timeframe: Annotated[str, typer.Option(metavar="TF", help="Length of a bar: 1m, 1h, 1d.")],
    sources: Annotated[
        list[str],
        typer.Option(
            "--from",
            metavar="NAME=DIR[:ID]",
            help="A provider's catalog, best provider first; ID where its instrument is another "
            "one. Repeat it.",
        ),
    ],
    into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Catalog for the resolved bars; without: only compare."),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=NAME,...", help="Another order for a field: volume=alpaca."),
    ] = None,
    tolerance_bps: Annotated[
        float, typer.Option(min=0, help="How far two prices may lie apart and agree.")
    ] = 5.0,
    volume_tolerance_bps: Annotated[
        float | None, typer.Option(min=0, help="The same of volumes; not compared unless told.")
    ] = None,
    quorum: Annotated[int, typer.Option(min=1, help="Providers that must agree on a value.")] = 1,
    unresolved: Annotated[
        Policy, typer.Option(help="What to do with a value that has no quorum.")
    ] = Policy.FLAG,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace bars and definition that differ.")
    ] = False,
    rows: Annotated[int, typer.Option(min=0, help="Disagreements to list.")] = 20,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the report as a page.")
    ] = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Compare several providers' bars, and write the series that they agree on."""
    from onetape.marketdata.reconciliation import ReconcileOptions, Unresolved
    from onetape.marketdata.reconciliation import reconcile as resolve
    from onetape.marketdata.reconciliation_report import build_report, render_html

    providers, definition = _read(sources, instrument, timeframe)
    _check_footing(providers, tolerance_bps / _BPS)
    result = resolve(
        providers,
        ReconcileOptions(
            priority=tuple(each.name for each in providers),
            by_field=_orders(field or []),
            tolerance_ratio=tolerance_bps / _BPS,
            volume_tolerance_ratio=None
            if volume_tolerance_bps is None
            else volume_tolerance_bps / _BPS,
            quorum=quorum,
            unresolved=Unresolved(unresolved.value),
        ),
    )
    report = build_report(f"{instrument} {timeframe}", result)
    if html is not None:
        html.write_text(render_html(report), encoding="utf-8")
    written = ""
    if into is not None:
        written = _write(into, definition, timeframe, result, providers[0].adjustment, replace)
    if as_json:
        print_json(report)
        return
    for table in report.tables(rows):
        print_table(table.headers, table.rows)
        print()
    print(report.summary + written)


def _read(
    sources: list[str], instrument: str, timeframe: str
) -> tuple[list[ProviderBars], Instrument]:
    """Each provider's bars, and the instrument as the first one defines it, under our id."""
    import msgspec

    from onetape.domain.instrument import InstrumentId
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.reconciliation import ProviderBars

    providers: list[ProviderBars] = []
    definition: Instrument | None = None
    for text in sources:
        name, _, place = text.partition("=")
        folder, mark, other = place.rpartition(":")
        named = mark and "/" not in other  # the colon of s3://... names no instrument
        path, wanted = (folder, other) if named else (place, instrument)
        if not (name and path and wanted):
            raise ConfigError(f"--from {text!r} is not NAME=DIR or NAME=DIR:ID")
        if name in [each.name for each in providers]:
            raise ConfigError(f"--from names {name!r} twice")
        catalog = Catalog(Path(path))
        stored = catalog.read_many([wanted], timeframe)[0]
        providers.append(ProviderBars(name, stored.columns, stored.adjustment))
        if definition is None:
            definition = msgspec.structs.replace(
                catalog.instrument(wanted), id=InstrumentId(instrument)
            )
    if definition is None or len(providers) < 2:
        raise ConfigError("there is nothing to compare", remedy="give --from at least twice")
    return providers, definition


def _check_footing(providers: list[ProviderBars], tolerance_ratio: float) -> None:
    """Raises `DataError` unless all prices are adjusted alike, as recorded and as they look."""
    from onetape.marketdata.footing import find_footing

    first, *others = providers
    for each in others:
        if each.adjustment != first.adjustment:
            raise DataError(
                f"{first.name} has adjustment {first.adjustment!r}, {each.name} has "
                f"{each.adjustment!r}", remedy="bring both in with the same adjustment",
            )  # fmt: skip
        steps = find_footing(first.columns, each.columns, tolerance_ratio)
        if steps:
            shown = ", ".join(map(str, steps[:5])) + (", ..." if len(steps) > 5 else "")
            raise DataError(
                f"prices of {each.name} are those of {first.name} {shown}: one of them is adjusted "
                "for splits or dividends", remedy="bring both in with the same adjustment",
            )  # fmt: skip


def _orders(texts: list[str]) -> dict[str, tuple[str, ...]]:
    orders: dict[str, tuple[str, ...]] = {}
    for text in texts:
        field, _, names = text.partition("=")
        if not (field and names):
            raise ConfigError(f"--field {text!r} is not FIELD=NAME,...",
                              remedy="for example volume=alpaca,yahoo")  # fmt: skip
        orders[field] = tuple(names.split(","))
    return orders


def _write(
    into: Path,
    definition: Instrument,
    timeframe: str,
    result: Reconciled,
    adjustment: str,
    replace: bool,
) -> str:
    """The bars, then where each value is from; what to say of it."""
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.provenance import make_provenance, write_provenance

    outcome = Catalog(into).write_bars(
        definition.id,
        timeframe,
        result.columns,
        source=_RECONCILED + ", ".join(result.names),
        adjustment=adjustment,
        ts_ingest=time.time_ns(),
        definition=definition,
        replace=replace,
    )
    if outcome.unchanged:
        return f"; nothing new in {into}"
    rows: Any = make_provenance(result)
    write_provenance(into, definition.id, timeframe, outcome.version, rows)
    if len(rows) < outcome.rows:
        first = to_iso(int(result.columns["ts_open"][0]))
        print(f"warning: bars before {first} or after the last keep their own source",
              file=sys.stderr)  # fmt: skip
    return f"; {outcome.rows_written:,} bars written to {into}, version {outcome.version}"


def provenance_facts(store: Catalog, dataset: Dataset) -> list[tuple[str, str]]:
    """For `data show`: how many values of a resolved series each provider gave."""
    from onetape.domain.market import BAR_FLOAT_COLUMNS
    from onetape.marketdata.provenance import read_provenance

    if not dataset.source.startswith(_RECONCILED):
        return []
    rows = read_provenance(store.path, dataset.instrument, dataset.timeframe, dataset.version)
    facts: list[tuple[str, str]] = []
    for field in BAR_FLOAT_COLUMNS:
        counts = rows[field].value_counts(sort=True).rows()
        facts.append((f"{field} from", ", ".join(f"{name} {count:,}" for name, count in counts)))
    return facts
