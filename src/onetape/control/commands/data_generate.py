"""`onetape data generate`: made-up market data from a seed."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from onetape.control.instrument_options import ImportKind, InstrumentOptions
from onetape.control.options import DEFAULT_CATALOG, CatalogOption, DebugOption
from onetape.domain.errors import ConfigError
from onetape.domain.timestamps import from_iso


def generate(
    instrument: Annotated[
        list[str], typer.Option(metavar="ID", help="SYMBOL.VENUE. May be repeated.")
    ],
    timeframe: Annotated[str, typer.Option(metavar="TF", help="Length of a bar: 1m, 1h, 1d.")],
    start: Annotated[str, typer.Option(metavar="TIME", help="First open, UTC unless told.")],
    end: Annotated[str, typer.Option(metavar="TIME", help="Opens before this.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same data.")],
    *,
    price: Annotated[float, typer.Option(help="Before the first print.")] = 100.0,
    drift: Annotated[float, typer.Option(help="Of the mean price, a year.")] = 0.05,
    volatility: Annotated[float, typer.Option(help="A year: 0.2 is 20 percent.")] = 0.2,
    correlation: Annotated[float, typer.Option(help="Of two instruments, 0 to 1.")] = 0.0,
    turbulent_ratio: Annotated[
        float, typer.Option(help="Volatility of turbulent sessions, as a multiple.")
    ] = 1.0,
    calm_sessions: Annotated[float, typer.Option(help="Mean length of a calm spell.")] = 60.0,
    turbulent_sessions: Annotated[
        float, typer.Option(help="Mean length of a turbulent spell.")
    ] = 15.0,
    jumps_per_year: Annotated[float, typer.Option(help="Mean number of jumps.")] = 0.0,
    jump_volatility: Annotated[float, typer.Option(help="Standard deviation of a jump.")] = 0.03,
    gap_ratio: Annotated[float, typer.Option(help="Chance of a bar to begin a gap.")] = 0.0,
    gap_bars: Annotated[float, typer.Option(help="Mean length of a gap.")] = 1.0,
    prints: Annotated[int, typer.Option(help="Trades of each bar.")] = 20,
    volume: Annotated[float, typer.Option(help="Mean of a bar, in units.")] = 100_000.0,
    spread_ticks: Annotated[int, typer.Option(help="Ask less bid.")] = 1,
    levels: Annotated[int, typer.Option(help="Prices of each side of a book.")] = 5,
    records: Annotated[
        str,
        typer.Option(metavar="KIND,...", help="Also what made the bars: trades, quotes, book."),
    ] = "",
    kind: Annotated[ImportKind | None, typer.Option(help="What it is; equity unless told.")] = None,
    currency: Annotated[str, typer.Option(metavar="CODE", help="Currency of prices: USD.")] = "",
    base: Annotated[str, typer.Option(metavar="CODE", help="Currency that a pair buys.")] = "",
    tick: Annotated[str, typer.Option(metavar="STEP", help="Smallest price step: 0.01.")] = "",
    lot: Annotated[str, typer.Option(metavar="STEP", help="Smallest quantity step: 1.")] = "",
    calendar: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="hours:America/New_York:09:30-16:00, or an exchange such as XNYS; 24/7 if absent.",
        ),
    ] = "",
    catalog: CatalogOption = DEFAULT_CATALOG,
    _debug: DebugOption = False,
) -> None:
    """Make up bars, trades, quotes and depth of a stated model, the same for the same seed."""
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.record_kinds import to_record_kind
    from onetape.marketdata.sample_data import SampleModel
    from onetape.marketdata.sample_records import SampleRequest, generate_sample, write_sample

    request = SampleRequest(
        timeframe=timeframe,
        ts_start=from_iso(start, "--start", error=ConfigError),
        ts_end=from_iso(end, "--end", error=ConfigError),
        seed=seed,
        model=SampleModel(
            price=price, drift=drift, volatility=volatility, correlation=correlation,
            turbulent_ratio=turbulent_ratio, calm_sessions=calm_sessions,
            turbulent_sessions=turbulent_sessions, jumps_per_year=jumps_per_year,
            jump_volatility=jump_volatility, gap_ratio=gap_ratio, gap_bars=gap_bars,
            prints=prints, volume=volume, spread_ticks=spread_ticks, levels=levels,
        ),
        records=tuple(map(to_record_kind, filter(None, records.split(",")))),
    )  # fmt: skip
    if request.ts_start >= request.ts_end:
        raise ConfigError(f"--start {start} is not before --end {end}")
    given = InstrumentOptions(kind, currency, base, tick, lot, calendar or "24/7")
    store = Catalog(catalog)
    ts_now = time.time_ns()
    for name in instrument:
        definition = given.build(name)
        sample = generate_sample(definition, request, ts_now=ts_now)
        outcome = write_sample(store, definition, sample, ts_ingest=ts_now)
        for warning in sample.bars.warnings:
            print(f"warning: {name}: {warning}", file=sys.stderr)
        bars = outcome.bars
        written = "nothing new" if bars.unchanged else f"{bars.rows_written:,} bars written"
        print(
            f"{name} {timeframe}: {written}, version {bars.version}, content "
            f"{bars.content_hash[:12]}"
        )
        for each, wrote in outcome.records.items():
            rows = f"{wrote.rows_written:,} rows" if wrote.rows_written else "nothing new"
            print(f"{name} {each.value}: {rows}, version {wrote.version}")
