"""`onetape data pull`: bars, corporate actions and funding from a provider into the catalog."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.boundary import print_error
from onetape.control.instrument_options import ImportKind, InstrumentOptions
from onetape.control.options import DEFAULT_CATALOG, CatalogOption, DebugOption
from onetape.control.terminal import console
from onetape.domain.errors import ConfigError, OnetapeError
from onetape.domain.timestamps import NS_PER_SECOND, from_iso, to_iso

if TYPE_CHECKING:
    from pydantic import SecretStr

    from onetape.domain.instrument import Instrument, InstrumentId
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.pulling import Progress, PullOptions, PullResult
    from onetape.marketdata.record_kinds import RecordKind
    from onetape.marketdata.sources.port import BarSource, SourceAccess

_USUAL_SECRETS = {"alpaca": ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")}


def pull(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="yahoo, alpaca, a crypto exchange such as binance, or FILE.py:Class.",
        ),
    ],
    *,
    instrument: Annotated[
        list[str], typer.Option(metavar="ID", help="SYMBOL.VENUE. May be repeated.")
    ],
    timeframe: Annotated[
        str,
        typer.Option(
            metavar="TF", help="Length of a bar: 1m, 1h, 1d; or corporate_actions, or funding."
        ),
    ],
    start: Annotated[
        str,
        typer.Option(metavar="TIME", help="First open; the first stored bar's unless told."),
    ] = "",
    end: Annotated[str, typer.Option(metavar="TIME", help="Opens before this; now.")] = "",
    symbol: Annotated[
        str, typer.Option(metavar="NAME", help="The provider's symbol, if it is another one.")
    ] = "",
    symbols: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The provider's symbol of each instrument when: instrument, symbol, start, end.",
        ),
    ] = None,
    adjustment: Annotated[
        str,
        typer.Option(metavar="KIND", help="none, splits, dividends or all."),
    ] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="The provider's own, e.g. feed=iex."),
    ] = None,
    key: Annotated[
        str, typer.Option(metavar="REF", help="Where the key is: env:NAME or file:PATH.")
    ] = "",
    secret: Annotated[
        str, typer.Option(metavar="REF", help="Where the secret is: env:NAME or file:PATH.")
    ] = "",
    base_url: Annotated[
        str, typer.Option(metavar="URL", help="Another address of the provider: a mirror, a proxy.")
    ] = "",
    per_minute: Annotated[
        float | None,
        typer.Option(min=0.1, help="Requests a minute; the provider's usual limit unless told."),
    ] = None,
    attempts: Annotated[int, typer.Option(min=1, help="How often to ask for one answer.")] = 6,
    settle: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Wait so long after a bar's close.")
    ] = 60.0,
    repair: Annotated[
        str,
        typer.Option(
            metavar="REPAIR,...", help="Allowed changes: sort, drop-duplicates, drop-bad."
        ),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Ask for all bars again and replace the stored ones.")
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
    catalog: CatalogOption = DEFAULT_CATALOG,
    _debug: DebugOption = False,
) -> None:
    """Bring what is missing from a provider into the catalog; run it again to go on."""
    from onetape.domain.instrument import InstrumentId
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.pulling import PullOptions
    from onetape.marketdata.quality import to_repair
    from onetape.marketdata.record_kinds import RecordKind
    from onetape.marketdata.sources.registry import open_source
    from onetape.marketdata.symbol_map import read_symbol_map

    if symbol and symbols is not None:
        raise ConfigError("--symbol and --symbols both say what the provider calls it",
                          remedy="leave one out")  # fmt: skip
    if symbol and len(instrument) > 1:
        raise ConfigError("--symbol names one instrument's symbol",
                          remedy="pull the instruments one by one")  # fmt: skip
    access = _build_access(
        source, symbol, adjustment, option or [], key, secret, base_url, per_minute, attempts
    )
    store = Catalog(catalog)
    options = PullOptions(
        replace=replace,
        repairs=frozenset(map(to_repair, filter(None, repair.split(",")))),
        settle_ns=int(settle * NS_PER_SECOND),
    )
    given = InstrumentOptions(kind, currency, base, tick, lot, calendar)
    opened = open_source(source, access)
    kinds = {each.value: each for each in RecordKind}
    failure: OnetapeError | None = None
    for name in instrument:
        try:
            if symbols is not None:
                opened = open_source(source, access, read_symbol_map(symbols, name))
            definition = _define(InstrumentId(name), given, store, opened)
            first = from_iso(start, "--start", error=ConfigError) if start else None
            last = from_iso(end, "--end", error=ConfigError) if end else time.time_ns()
            if timeframe in kinds:
                _pull_events(
                    opened, store, definition, kinds[timeframe], (first, last), replace=replace
                )
                continue
            first = _find_start(store, name, timeframe) if first is None else first
            with _shown_progress(name) as on_progress:
                result = _pull_one(
                    opened, store, definition, timeframe, (first, last), options, on_progress
                )
            _report(name, timeframe, opened, result)
        except OnetapeError as error:
            if len(instrument) == 1:
                raise
            print_error(f"{name}: {error}")
            failure = failure or error
    if failure is not None:
        raise typer.Exit(failure.exit_code)


def _pull_one(
    source: BarSource,
    store: Catalog,
    definition: Instrument,
    timeframe: str,
    span: tuple[int, int],
    options: PullOptions,
    on_progress: Progress | None,
) -> PullResult:
    from onetape.marketdata.pulling import pull_bars

    if span[0] >= span[1]:
        raise ConfigError(f"--start {to_iso(span[0])} is not before the end, {to_iso(span[1])}")
    return pull_bars(
        source, store, definition, timeframe, span, options,
        clock_ns=time.time_ns, on_progress=on_progress,
    )  # fmt: skip


def _pull_events(
    source: BarSource,
    store: Catalog,
    definition: Instrument,
    kind: RecordKind,
    span: tuple[int | None, int],
    *,
    replace: bool,
) -> None:
    from onetape.marketdata.pulling_events import PULLED_KINDS, find_first, pull_events

    if kind not in PULLED_KINDS:
        can = " and ".join(each.value for each in PULLED_KINDS)
        raise ConfigError(f"{kind.value} can't be pulled", remedy=f"bars, {can} can")
    first = find_first(store, definition.id, kind) if span[0] is None else span[0]
    if first is None:
        raise ConfigError(f"the catalog has no {kind.value} of {definition.id} to go on from",
                          remedy="add --start, for example --start 2020-01-01")  # fmt: skip
    result = pull_events(
        source, store, definition, kind, (first, span[1]), replace=replace, clock_ns=time.time_ns
    )
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    written = f"{result.rows_written:,} rows written" if result.rows_written else "nothing new"
    version = "" if result.version is None else f", version {result.version}"
    print(f"{definition.id} {kind.value}: {written}, {result.rows:,} in all, source {source.name}"
          f"{version}")  # fmt: skip


def _build_access(
    source: str,
    symbol: str,
    adjustment: str,
    options: Sequence[str],
    key: str,
    secret: str,
    base_url: str,
    per_minute: float | None,
    attempts: int,
) -> SourceAccess:
    from onetape.marketdata.sources.port import SourceAccess
    from onetape.marketdata.sources.requester import Pace, Requester

    pairs = [each.partition("=") for each in options]
    for name, sign, value in pairs:
        if not (name and sign and value):
            raise ConfigError(f"--option {name + sign + value!r} is not KEY=VALUE")
    usual = _USUAL_SECRETS.get(source, ("", ""))
    return SourceAccess(
        requester=Requester(
            Pace(per_minute=per_minute, attempts=attempts),
            clock=time.monotonic,
            sleep=time.sleep,
            chance=random.random,
            remedy="what came before is in the catalog; run it again, and it goes on from there",
        ),
        symbol=symbol,
        base_url=base_url,
        adjustment=adjustment,
        key=_find_secret(key, usual[0]),
        secret=_find_secret(secret, usual[1]),
        options={name: value for name, _, value in pairs},
    )


def _find_secret(reference: str, usual: str) -> SecretStr | None:
    """What the reference names, else what the usual variable holds."""
    from onetape.runtime.config_values import SecretRef

    if reference:
        return SecretRef.parse(reference).resolve(os.environ)
    if usual and os.environ.get(usual):
        return SecretRef("env", usual).resolve(os.environ)
    return None


def _define(
    name: InstrumentId, given: InstrumentOptions, store: Catalog, source: BarSource
) -> Instrument:
    """The definition: as the options say, else the stored one, else the provider's."""
    if given.are_given:
        return given.build(name)
    stored = store.instruments().get(name)
    return stored or source.define(name) or given.build(name)


def _find_start(store: Catalog, instrument: str, timeframe: str) -> int:
    for each in store.datasets():
        if (each.instrument, each.timeframe) == (instrument, timeframe):
            return each.ts_first
    raise ConfigError(f"the catalog has no {timeframe} bars of {instrument} to go on from",
                      remedy="add --start, for example --start 2020-01-01")  # fmt: skip


def _report(name: str, timeframe: str, source: BarSource, result: PullResult) -> None:
    for repaired, rows in result.repaired.items():
        print(f"repaired: {rows:,} rows by {repaired}", file=sys.stderr)
    for warning in result.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if result.rows is None:
        raise ConfigError(
            f"{source.name} has no {timeframe} bars of {name} in this time",
            remedy="is the symbol right? --symbol says another one",
        )
    written = f"{result.rows_written:,} bars written" if result.rows_written else "nothing new"
    print(
        f"{name} {timeframe}: {written}, {result.rows:,} in all, source {source.name}, adjustment "
        f"{source.adjustment}, version {result.version}"
    )


@contextmanager
def _shown_progress(name: str) -> Generator[Progress | None]:
    """A bar on stderr while the block runs; None when nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Screen

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} bars"),
        TimeRemainingColumn(),
    )
    with Screen(*columns, console=console(stderr=True), transient=True) as screen:
        task = screen.add_task(name, total=None, rows=0)

        def show(done: int, total: int, rows: int) -> None:
            screen.update(task, completed=done, total=total, rows=rows)

        yield show
