"""`onetape replay`: go through a session again, or run it with other code or configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.control.options import CatalogNowOption, DebugOption, JsonOption, SetOption
from onetape.control.progress import live_progress
from onetape.control.tape_target import TapeArgument, tape_of
from onetape.control.terminal import print_json
from onetape.domain.errors import ConfigError

if TYPE_CHECKING:
    from onetape.runtime.replay.places import Goal
    from onetape.runtime.replay.session import Replay


def replay(
    target: TapeArgument,
    *,
    until: Annotated[
        str | None,
        typer.Option(metavar="SEQ|TIME", help="Stop behind this event, or this time or date."),
    ] = None,
    step: Annotated[
        bool, typer.Option("--step", help="Go step by step: a debugger; `help` lists its commands.")
    ] = False,
    strategy: Annotated[
        str | None,
        typer.Option(metavar="FILE.py[:Class]", help="Run this strategy instead, and compare."),
    ] = None,
    replace: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which strategy it takes the place of, of several."),
    ] = None,
    set_: SetOption = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the comparison into one HTML file."),
    ] = None,
    catalog: CatalogNowOption = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Run the session of a tape once more and show where it stands.

    With --strategy or --set: run it with that, and tell where the decisions part.
    """
    from onetape.runtime.replay.other import Other
    from onetape.runtime.replay.session import Replay

    overrides = tuple(set_ or ())
    is_other = strategy is not None or replace is not None or bool(overrides)
    _check_options(step=step, as_json=as_json, is_other=is_other, has_html=html is not None)
    replayed = Replay(tape_of(target), catalog)
    try:
        for change in replayed.changes:
            print(f"warning: {change.what}", file=sys.stderr)
        goal = replayed.places.find(until) if until is not None else None
        if is_other:
            other = Other(strategy=strategy, replace=replace, overrides=overrides)
            _compare(replayed, other, goal, html, as_json=as_json)
            return
        code = _step(replayed, goal) if step else _show(replayed, goal, as_json=as_json)
    finally:
        replayed.close()
    if code:
        raise typer.Exit(code)


def _check_options(*, step: bool, as_json: bool, is_other: bool, has_html: bool) -> None:
    if step and as_json:
        raise ConfigError("--step is a conversation and has no --json", remedy="leave one out")
    if step and is_other:
        raise ConfigError(
            "--step goes through the session as it was recorded",
            remedy="leave out --strategy, --replace and --set, or --step",
        )
    if has_html and not is_other:
        raise ConfigError("--html draws a comparison",
                          remedy="give --strategy or --set; `onetape why` draws one")  # fmt: skip


def _step(replayed: Replay, goal: Goal | None) -> int:
    from onetape.control.replay_debugger import run_debugger
    from onetape.runtime.replay.walk import Walk

    replayed.begin(goal)
    walk = Walk(replayed)
    if goal is not None:
        with live_progress(quiet=False) as on_progress:
            walk.on_progress = on_progress
            walk.until(goal)
        if replayed.departure is not None:
            return _tell_departure(replayed)
    return run_debugger(walk, lambda: _tell_departure(replayed))


def _show(replayed: Replay, goal: Goal | None, *, as_json: bool) -> int:
    from onetape.runtime.replay.walk import DECISIONS, Walk

    if goal is None and not replayed.places.is_complete:
        goal = replayed.places.last_event()
    replayed.begin(goal)
    with live_progress(quiet=as_json) as on_progress:
        if goal is None:
            replayed.run_out(on_progress)
        walk = Walk(replayed)
        if goal is not None:
            walk.on_progress = on_progress
            walk.until(goal)
    if replayed.departure is not None:
        return _tell_departure(replayed, as_json=as_json)
    found = replayed.places.newest_events(
        walk.seq, 1, lambda each: isinstance(each.payload, DECISIONS)
    )
    decision = found[0] if found else None
    chain = replayed.why(decision.seq, walk.seq) if decision else []
    if as_json:
        from onetape.control.replay_screen import describe_standing

        print_json(describe_standing(replayed, walk.standing, decision, chain))
        return 0
    from onetape.control.replay_screen import print_place

    print_place(replayed, walk, decision, chain)
    return 0


def _tell_departure(replayed: Replay, *, as_json: bool = False) -> int:
    """What `verify` makes of a replay that is not its tape; returns the exit code."""
    from onetape.control.boundary import DAMAGED
    from onetape.tape.render import event_to_json, event_to_line

    departure = replayed.departure
    sides = [("tape", departure and departure.tape), ("replay", departure and departure.replay)]
    with live_progress(quiet=as_json) as on_progress:
        found = replayed.classify(on_progress)
    what = found.what if found else (
        "nondeterminism: the replay departs from the tape, and one more re-run does not"
    )  # fmt: skip
    if as_json:
        told: dict[str, Any] = {"verdict": found.verdict.value if found else "nondeterminism"}
        told |= {"what": what}
        told |= {name: event_to_json(event) if event else None for name, event in sides}
        print_json(told)
    else:
        print(what)
        for name, event in sides:
            print(f"{name}: {event_to_line(event) if event else 'comes to its end before'}")
        print("`onetape verify` tells how each side came to it.")
    return found.verdict.exit_code if found else DAMAGED


def _compare(
    replayed: Replay, other: Any, goal: Goal | None, html: Path | None, *, as_json: bool
) -> None:
    from onetape.control.replay_comparison import (
        describe_comparison,
        print_comparison,
        tell_parting,
    )
    from onetape.runtime.replay.comparison import compare_with

    if html is not None:
        from onetape.research.report_page import check_target

        check_target(html)
    ts_end = None if goal is None else goal.at
    with live_progress(quiet=as_json) as on_progress:
        found = compare_with(replayed, other, ts_end, on_progress)
    if html is not None:
        from onetape.research.replay_page import write_comparison

        write_comparison(html, found, tell_parting(found))
    if as_json:
        print_json(describe_comparison(found))
        return
    print_comparison(found)
    if html is not None:
        print(f"Picture: {html}")
