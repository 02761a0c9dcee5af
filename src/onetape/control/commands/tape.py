"""`onetape tape`: look at what a session remembered."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from onetape.control.boundary import DAMAGED
from onetape.control.options import DebugOption, JsonOption
from onetape.control.tape_target import TapeArgument, tape_of
from onetape.control.terminal import print_json
from onetape.domain.errors import ConfigError, FixInput

app = typer.Typer(help="Look at tapes, check, seal and export them.", no_args_is_help=True)

_INCOMPLETE = "the tape is incomplete: its session did not come to an end"


@app.command()
def show(
    target: TapeArgument,
    *,
    first_seq: Annotated[
        int, typer.Option("--from", metavar="SEQ", min=0, help="Begin at this seq.")
    ] = 0,
    limit: Annotated[int, typer.Option(min=0, help="Events to show; 0 shows all.")] = 50,
    event_type: Annotated[
        str, typer.Option("--type", help="Only this type or family: order.filled, order, risk.")
    ] = "",
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Print the events of a tape, one a line."""
    from onetape.tape.envelope import TYPES
    from onetape.tape.reader import SqliteTapeReader
    from onetape.tape.render import event_to_json, event_to_line

    known = sorted(set(TYPES.values()))
    if not any(_belongs(each, event_type) for each in known):
        raise ConfigError(f"no event has the type {event_type!r}",
                          remedy=f"known: {', '.join(known)}")  # fmt: skip
    reader = SqliteTapeReader(tape_of(target))
    try:
        events = (each for each in reader.events(first_seq) if _belongs(each.type, event_type))
        shown = islice(events, limit or None)
        if as_json:
            print_json([event_to_json(each) for each in shown])
            return
        for each in shown:
            print(event_to_line(each))
        following = next(events, None) if limit else None
        if following:
            typer.echo(f"more follow: --from {following.seq}, or --limit 0 for all", err=True)
        elif not reader.is_complete:
            typer.echo(_INCOMPLETE, err=True)
    finally:
        reader.close()


@app.command()
def audit(
    target: TapeArgument, *, as_json: JsonOption = False, _debug: DebugOption = False
) -> None:
    """Find out whether a tape is what was written, and locate the first damage."""
    from onetape.tape.reader import SqliteTapeReader
    from onetape.tape.seal import check_seal

    path = tape_of(target)
    reader = SqliteTapeReader(path)
    try:
        found = check_seal(path, reader.audit())
    finally:
        reader.close()
    if as_json:
        print_json(found)
    else:
        print(found)
    if found.damage is not None:
        raise typer.Exit(DAMAGED)
    if not found.complete:
        raise typer.Exit(FixInput.exit_code)


@app.command()
def seal(target: TapeArgument, *, _debug: DebugOption = False) -> None:
    """Make a finished tape read-only and remember its digest beside it."""
    from onetape.tape.seal import seal_path, seal_tape

    path = tape_of(target)
    made = seal_tape(path)
    print(
        f"{seal_path(path)}: {made.events} events in {made.records} records, digest {made.digest}"
    )


@app.command()
def export(
    target: TapeArgument,
    *,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to; tape.parquet beside the tape unless told."),
    ] = None,
    _debug: DebugOption = False,
) -> None:
    """Write the events of a tape into a Parquet file, one row each."""
    from onetape.tape.export import export_parquet
    from onetape.tape.reader import SqliteTapeReader

    path = tape_of(target)
    file = output or path.with_suffix(".parquet")
    reader = SqliteTapeReader(path)
    try:
        count = export_parquet(reader, file)
        is_complete = reader.is_complete
    finally:
        reader.close()
    print(f"{file}: {count:,} events")
    if not is_complete:
        typer.echo(_INCOMPLETE, err=True)


def _belongs(event_type: str, wanted: str) -> bool:
    return not wanted or event_type == wanted or event_type.startswith(f"{wanted}.")
