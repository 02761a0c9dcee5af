"""`onetape tape`: look at what a session remembered."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from onetape.control.boundary import DAMAGED
from onetape.control.commands.tape_state import state
from onetape.control.options import DebugOption, JsonOption
from onetape.control.tape_target import TapeArgument, tape_of
from onetape.control.terminal import print_json
from onetape.domain.errors import ConfigError, FixInput

app = typer.Typer(help="Look at tapes, check, seal and export them.", no_args_is_help=True)

PasswordOption = Annotated[
    str,
    typer.Option(
        metavar="REF", help="Where the password of the key is: env:NAME, file:PATH; never itself."
    ),
]

_INCOMPLETE = "the tape is incomplete: its session did not come to an end"

app.command()(state)


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
    from onetape.tape.opening import open_tape
    from onetape.tape.render import event_to_json, event_to_line

    known = sorted(set(TYPES.values()))
    if not any(_belongs(each, event_type) for each in known):
        raise ConfigError(f"no event has the type {event_type!r}",
                          remedy=f"known: {', '.join(known)}")  # fmt: skip
    reader = open_tape(tape_of(target))
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
    target: TapeArgument,
    *,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The key that must have signed the seal (PEM)."),
    ] = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Find out whether a tape is what was written, and locate the first damage."""
    from onetape.tape.opening import open_tape
    from onetape.tape.seal import check_seal
    from onetape.tape.signature import check_signature, read_signature

    path = tape_of(target)
    reader = open_tape(path)
    try:
        found = reader.audit()
    finally:
        reader.close()
    if public_key is None:
        found = check_seal(path, found)
    else:
        found = check_signature(path, found, public_key)
    if as_json:
        print_json(found)
    else:
        print(found)
        signature = read_signature(path) if found.damage is None else None
        if signature is not None:
            hint = "" if public_key else ", which is not checked without --public-key"
            print(f"signed with key {signature.fingerprint}{hint}")
    if found.damage is not None:
        raise typer.Exit(DAMAGED)
    if not found.complete:
        raise typer.Exit(FixInput.exit_code)


@app.command()
def seal(
    target: TapeArgument,
    *,
    sign: Annotated[
        Path | None,
        typer.Option(metavar="KEYFILE", help="Sign the seal with this private key (PEM)."),
    ] = None,
    password: PasswordOption = "",
    _debug: DebugOption = False,
) -> None:
    """Make a finished tape read-only and remember its digest beside it."""
    from onetape.tape.seal import seal_path, seal_tape
    from onetape.tape.signature import sign_seal, signature_path

    path = tape_of(target)
    made = seal_tape(path)
    print(
        f"{seal_path(path)}: {made.events} events in {made.records} records, digest {made.digest}"
    )
    if sign is not None:
        signature = sign_seal(path, sign, _fetch(password))
        print(f"{signature_path(path)}: signed with key {signature.fingerprint}")


@app.command()
def keygen(
    private: Annotated[
        Path, typer.Argument(metavar="KEYFILE", help="Where to; the public key: KEYFILE.pub.")
    ],
    *,
    password: PasswordOption = "",
    _debug: DebugOption = False,
) -> None:
    """Make a pair of Ed25519 keys to sign seals with."""
    from onetape.tape.signature import make_keys

    public = private.with_name(f"{private.name}.pub")
    fingerprint = make_keys(private, public, _fetch(password))
    print(f"{private}: private key, for nobody else")
    print(f"{public}: public key {fingerprint}, for those who audit")


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
    from onetape.tape.opening import open_tape

    path = tape_of(target)
    file = output or path.with_suffix(".parquet")
    reader = open_tape(path)
    try:
        count = export_parquet(reader, file)
        is_complete = reader.is_complete
    finally:
        reader.close()
    print(f"{file}: {count:,} events")
    if not is_complete:
        typer.echo(_INCOMPLETE, err=True)


@app.command()
def copy(
    target: TapeArgument,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A new SQLite file; with --server a new tape.json."),
    ],
    *,
    server: Annotated[
        str,
        typer.Option(metavar="URL", help="Copy into this database: postgresql://USER@HOST/NAME."),
    ] = "",
    password: Annotated[
        str,
        typer.Option(metavar="REF", help="Where its password is: env:NAME, file:PATH."),
    ] = "",
    _debug: DebugOption = False,
) -> None:
    """Copy a tape to a file or into a database; it has the same digest there."""
    from onetape.tape.copying import copy_tape
    from onetape.tape.opening import is_pointer
    from onetape.tape.pointer import TapeServer

    if is_pointer(file) != bool(server):
        raise ConfigError(f"{file} can't be that of a tape {'on' if server else 'off'} a server",
                          remedy="FILE.json with --server, FILE.db without")  # fmt: skip
    place = TapeServer(url=server, password=password) if server else None
    print(f"{file}: {copy_tape(tape_of(target), file, place)}")


def _fetch(reference: str) -> bytes | None:
    """The password behind a reference; None when there is no reference.

    Raises:
        ConfigError: It is no reference, or there is no password behind it.
    """
    from onetape.runtime.config_values import SecretRef

    if not reference:
        return None
    return SecretRef.parse(reference).resolve(os.environ).get_secret_value().encode()


def _belongs(event_type: str, wanted: str) -> bool:
    return not wanted or event_type == wanted or event_type.startswith(f"{wanted}.")
