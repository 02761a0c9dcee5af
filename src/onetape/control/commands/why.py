"""`onetape why`: how an order, or any event, came about."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from onetape.control.options import CatalogNowOption, DebugOption, JsonOption
from onetape.control.tape_target import TapeArgument, tape_of
from onetape.control.terminal import print_json
from onetape.domain.errors import DataError


def why(
    target: TapeArgument,
    subject: Annotated[
        str, typer.Argument(metavar="ORDER_ID|SEQ", help="An order, or the seq of an event.")
    ],
    *,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as a picture, one HTML file.")
    ] = None,
    catalog: CatalogNowOption = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Tell how an order or event came about and what came of it."""
    from onetape.runtime.sessions.recorded import (
        find_catalog,
        load_recorded,
    )
    from onetape.tape.opening import open_tape
    from onetape.telemetry.why import explain, trace_event, trace_order

    tape = tape_of(target)
    reader = open_tape(tape)
    try:
        header = reader.header
        is_seq = subject.isdecimal()
        chain = (
            trace_event(reader.records, int(subject))
            if is_seq
            else trace_order(reader.records, subject)
        )
        session, changes = load_recorded(
            header, catalog or find_catalog(tape.parent), tape.parent, reader.encoded_records
        )
        if session is None:
            raise DataError(f"can't tell: {changes[0].what}", where=str(tape))
        for change in changes:
            print(f"warning: {change.what}", file=sys.stderr)
        links = explain(chain, session.timeline, session.features())
    finally:
        reader.close()
    if html is not None:
        from onetape.research.why_page import write_why

        write_why(html, chain, links, session.timeline)
    if as_json:
        print_json({"order": chain.order, "chain": links})
        return
    for link in links:
        print(link)
    if html is not None:
        print(f"Picture: {html}")
