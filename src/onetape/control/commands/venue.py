"""`onetape venue`: a local twin of a real venue that replays data to real clients."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.interrupts import stop_asked
from onetape.control.options import DebugOption, SetOption
from onetape.control.venue_progress import live_venue
from onetape.domain.errors import ConfigError
from onetape.domain.numbers import show_minor
from onetape.domain.timestamps import to_iso
from onetape.runtime.local_venues.names import ACCOUNT, LOOPBACK, VenueName

if TYPE_CHECKING:
    from onetape.execution.simulated.terms import VenueTerms
    from onetape.marketdata.timeline import Timeline
    from onetape.runtime.local_venues.serving import LocalVenue


def venue(
    name: Annotated[VenueName, typer.Argument(metavar="VENUE", help="alpaca, binance or ibkr.")],
    *,
    data: Annotated[
        Path,
        typer.Option(
            metavar="CATALOG|CONFIG",
            help="Where the bars are: the directory of a catalog, or a configuration, which says "
            "which of them, and how orders fill and what they cost.",
        ),
    ],
    instruments: Annotated[
        str, typer.Option(metavar="ID,...", help="Which of a catalog, like AAPL.XNAS.")
    ] = "",
    timeframe: Annotated[
        str, typer.Option(metavar="TF", help="Which bars of a catalog; or trades, quotes, book.")
    ] = "1m",
    start: Annotated[str, typer.Option(metavar="TIME", help="Leave out what is before.")] = "",
    end: Annotated[str, typer.Option(metavar="TIME", help="Leave out what is after.")] = "",
    speed: Annotated[
        float,
        typer.Option(min=0, metavar="X", help="Seconds of the data in one; 0: all there is."),
    ] = 1.0,
    gap: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="What a longer pause of the data is cut to; 0: uncut."
        ),
    ] = 0.0,
    port: Annotated[
        int,
        typer.Option(min=0, max=65_535, metavar="PORT", help="Of 127.0.0.1; 0: any that is free."),
    ] = 8_765,
    cash: Annotated[
        str,
        typer.Option(
            metavar="AMOUNT|CUR=AMOUNT,...",
            help="What the account has: of each currency quoted in, or as told.",
        ),
    ] = "100000",
    key: Annotated[
        str, typer.Option(metavar="TEXT", help="What clients log in with.")
    ] = "local-key",
    secret: Annotated[
        str, typer.Option(metavar="TEXT", help="What clients log in with.")
    ] = "local-secret",
    faults: Annotated[
        int | None,
        typer.Option(metavar="SEED", help="Things go wrong, the same for the same seed."),
    ] = None,
    latency: Annotated[
        int, typer.Option(min=0, metavar="MS", help="From a command's receipt to the matching.")
    ] = 0,
    now: Annotated[bool, typer.Option("--now", help="Don't wait for the first client.")] = False,
    once: Annotated[
        bool, typer.Option("--once", help="End with the data instead of serving on.")
    ] = False,
    set_: SetOption = None,
    _debug: DebugOption = False,
) -> None:
    """Serve a venue's own protocol on loopback, over replayed data, to its real clients."""
    from onetape.runtime.local_venues.serving import LocalTerms, LocalVenue

    if name is VenueName.IBKR and (key, secret) != ("local-key", "local-secret"):
        raise ConfigError("TWS asks its clients for no keys", where="--key",
                          remedy="leave --key and --secret out")  # fmt: skip
    timeline, config_terms = _load(data, instruments, timeframe, start, end, set_ or [])
    currencies = sorted({each.quote_currency for each in timeline.instruments})
    local = LocalVenue(
        name,
        timeline,
        LocalTerms(
            balances=_read_cash(cash, currencies), key=key, secret=secret, speed=speed,
            gap_max_s=gap, seed=faults, latency_ms=latency, venue_terms=config_terms,
        ),
    )  # fmt: skip
    with stop_asked() as is_stop_asked, live_venue() as on_progress:

        async def serve() -> None:
            await local.start(port)
            _print_start(local, waits=not now)
            try:
                await local.play(
                    waits=not now, ends=once, is_stop_asked=is_stop_asked, on_progress=on_progress
                )
            finally:
                await local.close()

        asyncio.run(serve())
    _print_end(local)


def _load(
    data: Path, instruments: str, timeframe: str, start: str, end: str, overrides: list[str]
) -> tuple[Timeline, VenueTerms | None]:
    """The rows, and the terms of a configuration."""
    from onetape.domain.numbers import INT64_MAX
    from onetape.domain.timestamps import from_iso
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.loading import load_market_data

    if not data.exists():
        raise ConfigError(
            f"{data} does not exist", where="--data", remedy="give a catalog or a configuration"
        )
    if not data.is_dir():
        return _load_config(data, instruments, start, end, overrides)
    if overrides:
        raise ConfigError("a catalog has nothing to set", where="--set", remedy="give a CONFIG")
    wanted = [each for each in instruments.split(",") if each]
    if not wanted:
        raise ConfigError(
            f"which instruments of {data}?", where="--instruments",
            remedy="for example --instruments AAPL.XNAS; `onetape data list` tells what is there",
        )  # fmt: skip
    first = from_iso(start, "--start", error=ConfigError) if start else 0
    last = from_iso(end, "--end", error=ConfigError) if end else INT64_MAX
    return load_market_data(Catalog(data), wanted, timeframe, first, last), None


def _load_config(
    file: Path, instruments: str, start: str, end: str, overrides: list[str]
) -> tuple[Timeline, VenueTerms | None]:
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.loading import load_market_data
    from onetape.runtime.config import HistoricalClock, load_config
    from onetape.runtime.sessions.backtest import build_terms

    if instruments or start or end:
        raise ConfigError(
            "a configuration says itself which bars", where="--data",
            remedy="use --set, for example --set clock.end=2024-01-03",
        )  # fmt: skip
    config = load_config(file, overrides, os.environ)
    clock = config.clock
    if not isinstance(clock, HistoricalClock):
        raise ConfigError(
            f"{file} is of mode {config.mode}, and a local venue replays the data of a backtest",
            where="--data", remedy="give the configuration of a backtest",
        )  # fmt: skip
    timeline = load_market_data(
        Catalog(Path(config.data.path)), config.data.instruments, config.data.timeframe,
        clock.ts_start, clock.ts_end, config.data.versions, config.data.files, config.data.reading,
    )  # fmt: skip
    return timeline, build_terms(config.execution, config.seed, timeline.instruments)


def _read_cash(text: str, currencies: list[str]) -> dict[str, int]:
    """`100000`, of each of `currencies`, or `USDT=1000,BTC=0.5`, in 1e-8 units."""
    from onetape.domain.numbers import to_minor

    parts = [each.strip() for each in text.split(",") if each.strip()]
    if len(parts) == 1 and "=" not in text:
        parts = [f"{each}={text}" for each in currencies]
    balances: dict[str, int] = {}
    for part in parts:
        currency, _, amount = part.partition("=")
        balances[currency.strip()] = to_minor(amount.strip(), "--cash", error=ConfigError)
        if balances[currency.strip()] < 0 or not currency.strip():
            raise ConfigError(
                f"{part!r} is no balance", where="--cash", remedy="for example USDT=1000,BTC=0.5"
            )
    if not balances:
        raise ConfigError("no balance", where="--cash", remedy="for example 100000")
    return balances


def _print_start(local: LocalVenue, *, waits: bool) -> None:
    exchange, terms = local.exchange, local.terms
    access = f"http://{LOOPBACK}:{local.port}, key {terms.key}, secret {terms.secret}"
    if local.name is VenueName.IBKR:  # a socket whose program is logged in already
        access = f"{LOOPBACK}:{local.port}, a paper account"
    symbols = ", ".join(list(exchange.instruments)[:5])
    more = len(exchange.instruments) - 5
    print(f"{local.name.value} at {access}")
    print(
        f"{exchange.rows_total:,} rows of {symbols}{f' and {more} more' if more > 0 else ''} from "
        f"{to_iso(exchange.now)}{', when the first client listens' if waits else ''}; "
        "Ctrl-C ends it",
        flush=True,
    )


def _print_end(local: LocalVenue) -> None:
    """What has happened, for people."""
    now = local.progress
    books = local.exchange.books(ACCOUNT)
    print(
        f"{now.rows_played:,} of {now.rows_total:,} rows, to {to_iso(now.ts)}: {now.orders:,} "
        f"orders, {now.executions:,} fills"
    )
    for currency, balance in books.balances.items():
        print(f"  {currency} {show_minor(balance.total)}, of that held {show_minor(balance.held)}")
    for instrument, holding in books.positions.items():
        quantity = local.exchange.instrument_of(instrument.rpartition(".")[0]).lots_to_quantity(
            holding.lots
        )
        print(f"  {instrument} {quantity:f}")
    if local.faults is not None:
        counts = Counter(each.fault.kind.value for each in local.faults.decisions)
        told = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
        print(f"  faults of seed {local.faults.seed}: {told or 'none'}")
