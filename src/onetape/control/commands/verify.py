"""`onetape verify`: does a run prove what it says?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from onetape.control.options import CatalogNowOption, DebugOption, JsonOption
from onetape.control.progress import live_progress
from onetape.control.tape_target import TapeArgument, tape_of
from onetape.control.terminal import print_json

if TYPE_CHECKING:
    from onetape.domain.events import Event
    from onetape.runtime.verification import Verification


def verify(
    target: TapeArgument,
    *,
    catalog: CatalogNowOption = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Run the session of a tape again and compare every event with it."""
    from onetape.runtime.verification import verify_tape

    with live_progress(quiet=as_json) as on_progress:
        found = verify_tape(tape_of(target), catalog, on_progress)
    if as_json:
        print_json(_describe(found))
    else:
        print(found.what)
        _print_details(found)
    if found.verdict.exit_code:
        raise typer.Exit(found.verdict.exit_code)


def _print_details(found: Verification) -> None:
    for change in found.changes[1:]:
        print(f"{change.kind.value} changed: {change.what}")
    if found.difference is None:
        return
    sides = (
        ("tape", found.difference.tape, found.difference.tape_chain),
        ("re-run", found.difference.rerun, found.difference.rerun_chain),
    )
    for name, event, chain in sides:
        print(f"\n{name}, event {event.seq}:" if event else f"\n{name}: comes to its end before")
        for link in chain:
            print(f"{'>' if event and link.seq == event.seq else ' '}{link}")


def _describe(found: Verification) -> dict[str, Any]:
    """The same for programs; events as `onetape tape show --json` has them."""
    difference = found.difference
    return {
        "verdict": found.verdict.value,
        "exit_code": found.verdict.exit_code,
        "what": found.what,
        "session": found.session,
        "digest": found.digest,
        "records": found.records,
        "events": found.events,
        "decisions": found.decisions,
        "damage": found.damage,
        "changes": found.changes,
        "difference": difference
        and {
            "record": difference.record,
            "tape": _event(difference.tape),
            "rerun": _event(difference.rerun),
            "tape_chain": difference.tape_chain,
            "rerun_chain": difference.rerun_chain,
        },
    }


def _event(event: Event | None) -> dict[str, Any] | None:
    from onetape.tape.render import event_to_json

    return event_to_json(event) if event else None
