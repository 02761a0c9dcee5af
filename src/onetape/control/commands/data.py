"""`onetape data`: bring market data into the catalog and look at it."""

from __future__ import annotations

import sys
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.commands.data_aggregate import aggregate
from onetape.control.commands.data_check import check
from onetape.control.commands.data_generate import generate
from onetape.control.commands.data_history import asof, diff, versions
from onetape.control.commands.data_pull import pull
from onetape.control.commands.data_reconcile import provenance_facts, reconcile
from onetape.control.commands.data_records import import_records, show_records
from onetape.control.commands.data_ticks import store_ticks
from onetape.control.commands.data_universe import universe
from onetape.control.instrument_options import (
    ContractOptions,
    Exercise,
    ImportKind,
    InstrumentOptions,
    Right,
    Settlement,
)
from onetape.control.options import (
    DEFAULT_CATALOG,
    CatalogOption,
    DebugOption,
    JsonOption,
    parse_pairs,
)
from onetape.control.terminal import print_json, print_table
from onetape.domain.errors import ConfigError, DataError
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import to_iso

if TYPE_CHECKING:
    from onetape.domain.instrument import Instrument
    from onetape.marketdata.bars import BarColumns
    from onetape.marketdata.catalog import Catalog, DatasetView
    from onetape.marketdata.symbol_map import SymbolSpan

app = typer.Typer(help="Bring market data into the catalog and look at it.", no_args_is_help=True)
app.command()(aggregate)
app.command()(check)
app.command()(universe)
app.command()(import_records)
app.command()(versions)
app.command()(diff)
app.command()(asof)
app.command()(pull)
app.command()(reconcile)
app.command()(generate)

_SHOWN = ("time_open", "open", "high", "low", "close", "volume")


class Label(Enum):
    """Which end of a bar the file's time names."""

    START = "start"
    END = "end"


@app.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A .csv, .csv.gz, .json, .jsonl, .parquet or .h5 file."
        ),
    ],
    *,
    instrument: Annotated[
        str, typer.Option(metavar="ID", help="SYMBOL.VENUE, for example AAPL.XNAS.")
    ],
    timeframe: Annotated[
        str,
        typer.Option(metavar="TF", help="Length of a bar: 1m, 1h, 1d; or trades, or quotes."),
    ],
    column_map: Annotated[
        str,
        typer.Option(
            "--map",
            metavar="COLUMN=ROLE,...",
            help="What columns are: ts, open, high, low, close, volume, or - to leave one out, "
            'e.g. "Date=ts,Adj Close=-". Of trades ts, price, size, aggressor, is_buyer_maker, id; '
            "of quotes ts, bid, ask, bid_size, ask_size, id; of both ts_known. Columns with usual "
            "names are found without.",
        ),
    ] = "",
    where: Annotated[
        str,
        typer.Option(
            metavar="COLUMN=TEXT,...",
            help="Only rows with this text: picks one symbol out of a file of several.",
        ),
    ] = "",
    symbols: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Which symbol stood for the instrument when: instrument, symbol, start, end; only "
            "rows of that time are taken. Needs --symbol or --symbol-column.",
        ),
    ] = None,
    symbol: Annotated[str, typer.Option(metavar="TEXT", help="The symbol that FILE is of.")] = "",
    symbol_column: Annotated[
        str, typer.Option(metavar="COLUMN", help="The column with the symbol of each row.")
    ] = "",
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="Which table of an HDF5 file that has several.")
    ] = "",
    timezone: Annotated[
        str,
        typer.Option(
            "--tz", metavar="ZONE", help="Time zone of times without an offset: America/New_York."
        ),
    ] = "",
    label: Annotated[
        Label, typer.Option(help="The end of a bar that its time names.")
    ] = Label.START,
    adjust_by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN", help="The vendor's adjusted close; prices are scaled to it."
        ),
    ] = "",
    repair: Annotated[
        str,
        typer.Option(
            metavar="REPAIR,...", help="Allowed changes: sort, drop-duplicates, drop-bad."
        ),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace bars and definition that differ.")
    ] = False,
    kind: Annotated[ImportKind | None, typer.Option(help="What it is; equity unless told.")] = None,
    currency: Annotated[str, typer.Option(metavar="CODE", help="Currency of prices: USD.")] = "",
    base: Annotated[str, typer.Option(metavar="CODE", help="Currency that a pair buys.")] = "",
    tick: Annotated[str, typer.Option(metavar="STEP", help="Smallest price step: 0.01.")] = "",
    lot: Annotated[str, typer.Option(metavar="STEP", help="Smallest quantity step: 1.")] = "",
    calendar: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="24/7, hours:America/New_York:09:30-16:00, or an exchange such as XNYS.",
        ),
    ] = "",
    multiplier: Annotated[
        str, typer.Option(metavar="NUMBER", help="Units of a contract: 100; 1 unless told.")
    ] = "",
    inverse: Annotated[
        bool, typer.Option("--inverse", help="A perpetual that is settled in its base currency.")
    ] = False,
    underlying: Annotated[
        str, typer.Option(metavar="ID", help="What a future or option is on: AAPL.XNAS.")
    ] = "",
    expiry: Annotated[
        str, typer.Option(metavar="TIME", help="When a future or option ends, ISO 8601.")
    ] = "",
    strike: Annotated[str, typer.Option(metavar="PRICE", help="Strike of an option: 100.")] = "",
    right: Annotated[Right | None, typer.Option(help="The right of an option.")] = None,
    exercise: Annotated[
        Exercise | None, typer.Option(help="When an option may be exercised; american unless told.")
    ] = None,
    settlement: Annotated[
        Settlement | None, typer.Option(help="How an option settles; physical unless told.")
    ] = None,
    initial_margin: Annotated[
        str, typer.Option(metavar="PERCENT", help="Margin to open, of the notional: 10.")
    ] = "",
    maintenance_margin: Annotated[
        str, typer.Option(metavar="PERCENT", help="Margin to hold, of the notional: 5.")
    ] = "",
    catalog: CatalogOption = DEFAULT_CATALOG,
    _debug: DebugOption = False,
) -> None:
    """Check the bars, prints or quotes of one instrument and add them to the catalog."""
    from onetape.domain.instrument import InstrumentId
    from onetape.marketdata.bar_times import TimeLabel
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.importer import ImportOptions, import_bars
    from onetape.marketdata.quality import to_repair
    from onetape.marketdata.tick_importer import TICK_KINDS

    store = Catalog(catalog)
    contract = ContractOptions(
        multiplier, inverse, underlying, expiry, strike, right, exercise, settlement,
        initial_margin, maintenance_margin,
    )  # fmt: skip
    given = InstrumentOptions(kind, currency, base, tick, lot, calendar, contract)
    definition = None if given.are_given else store.instruments().get(InstrumentId(instrument))
    definition = definition or given.build(instrument)
    options = ImportOptions(
        column_map=parse_pairs(column_map, "--map"),
        where=parse_pairs(where, "--where"),
        dataset=dataset,
        timezone=timezone,
        label=TimeLabel(label.value),
        adjust_by=adjust_by or None,
        repairs=frozenset(map(to_repair, filter(None, repair.split(",")))),
        symbols=_read_symbols(symbols, instrument, symbol, symbol_column),
        symbol=symbol,
        symbol_column=symbol_column,
    )
    ts_now = time.time_ns()
    if timeframe in TICK_KINDS:
        store_ticks(
            store, file, definition, TICK_KINDS[timeframe], options, ts_now=ts_now, replace=replace
        )
        return
    bars = import_bars(file, definition, timeframe, options, ts_now=ts_now)
    outcome = store.write_bars(
        definition.id,
        timeframe,
        bars.columns,
        source=bars.source,
        adjustment=bars.adjustment,
        ts_ingest=ts_now,
        definition=definition,
        replace=replace,
    )
    for repaired, rows in bars.repaired.items():
        print(f"repaired: {rows:,} rows by {repaired.value}", file=sys.stderr)
    for warning in bars.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    written = "nothing new" if outcome.unchanged else f"{outcome.rows_written:,} bars written"
    print(
        f"{instrument} {timeframe}: {written}, {outcome.rows:,} in all, adjustment "
        f"{bars.adjustment}, version {outcome.version}, content {outcome.content_hash[:12]}"
    )


def _read_symbols(
    path: Path | None, instrument: str, symbol: str, symbol_column: str
) -> tuple[SymbolSpan, ...]:
    from onetape.marketdata.symbol_map import read_symbol_map

    given = [each for each in (symbol, symbol_column) if each]
    if path is None and given:
        raise ConfigError("is of no use without --symbols", where="--symbol",
                          remedy="name the file that says whose symbol it was when")  # fmt: skip
    if path is None:
        return ()
    if len(given) != 1:
        raise ConfigError("--symbols needs one of --symbol and --symbol-column", where="--symbols",
                          remedy="say which symbol it is of, or which column has it")  # fmt: skip
    return read_symbol_map(path, instrument)


@app.command("list")
def list_(
    *,
    catalog: CatalogOption = DEFAULT_CATALOG,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """List the datasets of the catalog."""
    from onetape.marketdata.catalog import Catalog

    store = Catalog(catalog)
    datasets, records = store.datasets(), store.records.datasets()
    if as_json:
        print_json([*datasets, *records])
        return
    if not datasets and not records:
        print(f"{catalog} holds no data; import some: onetape data import --help")
        return
    rows = [
        (
            each.instrument,
            each.timeframe,
            f"{each.rows:,}",
            to_iso(each.ts_first)[:10],
            to_iso(each.ts_last)[:10],
            each.adjustment,
            str(each.version),
            each.source,
        )
        for each in datasets
    ]
    rows += [
        (
            each.dataset,
            each.kind,
            f"{each.rows:,}",
            to_iso(each.ts_first)[:10],
            to_iso(each.ts_last)[:10],
            "",
            str(each.version),
            each.source,
        )
        for each in records
    ]
    headers = ("dataset", "of", ">rows", "from", "to", "adjusted", ">version", "source")
    print_table(headers, rows)


@app.command()
def show(
    instrument: Annotated[str, typer.Argument(metavar="ID", help="Like AAPL.XNAS.")],
    *,
    timeframe: Annotated[
        str,
        typer.Option(
            metavar="TF", help="Needed where there are several; also a kind of records: funding."
        ),
    ] = "",
    rows: Annotated[int, typer.Option(min=1, help="First and last rows to show.")] = 5,
    catalog: CatalogOption = DEFAULT_CATALOG,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Show one dataset: what it is, its quality, its first and last rows."""
    from onetape.marketdata.catalog import Catalog

    store = Catalog(catalog)
    timeframe = timeframe or _only_timeframe(store, instrument)
    kinds = {each.kind for each in store.records.datasets()}
    known = [f"{each.instrument} {each.timeframe}" for each in store.datasets()]
    known += [f"{each.dataset} {each.kind}" for each in store.records.datasets()]
    wanted = f"{instrument} {timeframe}"
    if wanted not in known:
        raise DataError(f"the catalog has no {timeframe} of {instrument}", where=str(store.path),
                        remedy=nearest(wanted, known))  # fmt: skip
    if timeframe in kinds:
        show_records(store, instrument, timeframe, rows, as_json=as_json)
        return
    view = store.show(instrument, timeframe, rows=rows)
    definition = store.instrument(instrument)
    if as_json:
        print_json(
            {
                "dataset": view.dataset,
                "instrument": definition,
                "quality": view.quality,
                "head": _bars(view.head),
                "tail": _bars(view.tail),
            }
        )
        return
    for label, text in (*_facts(view, definition), *provenance_facts(store, view.dataset)):
        print(f"{label:<11} {text}")
    print()
    bars = _bars(view.head) + _bars(view.tail)[max(0, 2 * rows - view.dataset.rows) :]
    headers = ("open time, UTC", ">open", ">high", ">low", ">close", ">volume")
    print_table(headers, [[_cell(bar[name]) for name in _SHOWN] for bar in bars])


def _facts(view: DatasetView, definition: Instrument) -> list[tuple[str, str]]:
    dataset = view.dataset
    flags = [f"{count:,} {flag.lower()}" for flag, count in view.quality.items() if count]
    return [
        ("dataset", f"{dataset.instrument} {dataset.timeframe}, version {dataset.version}"),
        ("bars", f"{dataset.rows:,}, {to_iso(dataset.ts_first)} to {to_iso(dataset.ts_last)}"),
        ("quality", ", ".join(flags)),
        ("source", f"{dataset.source}, adjustment {dataset.adjustment}"),
        ("content", dataset.content_hash),
        ("kind", f"{definition.kind.value} in {definition.quote_currency}"),
        ("grid", f"tick {definition.tick_size:f}, lot {definition.lot_size:f}"),
        ("calendar", definition.calendar),
    ]


def _bars(columns: BarColumns) -> list[dict[str, str | float]]:
    """Rows for people and programs: times as ISO text, prices and volume as numbers."""
    from onetape.domain.market import BAR_FLOAT_COLUMNS

    times = zip(columns["ts_open"].tolist(), columns["ts_close"].tolist(), strict=True)
    values = zip(*(columns[name].tolist() for name in BAR_FLOAT_COLUMNS), strict=True)
    return [
        {"time_open": to_iso(opens), "time_close": to_iso(closes)}
        | dict(zip(BAR_FLOAT_COLUMNS, row, strict=True))
        for (opens, closes), row in zip(times, values, strict=True)
    ]


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return value.rstrip("Z").replace("T", " ")
    return f"{value:,.10g}"


def _only_timeframe(store: Catalog, instrument: str) -> str:
    """The timeframe of the bars of an instrument, else the one kind of its records."""
    found = [each.timeframe for each in store.datasets() if each.instrument == instrument]
    kinds = [each.kind for each in store.records.datasets() if each.dataset == instrument]
    if len(found) > 1 or (not found and len(kinds) > 1):
        raise DataError(f"{instrument} has {', '.join([*found, *kinds])}",
                        remedy=f"choose one: --timeframe {(found or kinds)[0]}")  # fmt: skip
    found = found or kinds
    if not found:
        store.instrument(instrument)
        raise DataError(f"{instrument} is defined but has no bars", where=str(store.path),
                        remedy="onetape data import")  # fmt: skip
    return found[0]
