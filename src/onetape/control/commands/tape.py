"""`onetape tape`: look at what a session remembered."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from onetape.control.options import DebugOption, JsonOption
from onetape.control.terminal import print_json
from onetape.domain.errors import ConfigError

app = typer.Typer(help="Look at tapes.", no_args_is_help=True)


@app.command()
def show(
    target: Annotated[Path, typer.Argument(metavar="TAPE|RUN_DIR", help="A tape or its run.")],
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
    reader = SqliteTapeReader(target / "tape.db" if target.is_dir() else target)
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
            typer.echo("the tape is incomplete: its session did not come to an end", err=True)
    finally:
        reader.close()


def _belongs(event_type: str, wanted: str) -> bool:
    return not wanted or event_type == wanted or event_type.startswith(f"{wanted}.")
