"""`onetape status|stop|pause|resume|flatten|kill`: an operator speaks to a running session."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from onetape.control.options import DebugOption, JsonOption
from onetape.control.terminal import print_json, print_table
from onetape.domain.errors import DataError

SessionArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SESSION",
        help="A run's directory, the session's name or the beginning of its id; "
        "may be left out when only one runs.",
    ),
]
RunsOption = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where the runs are.")]
StrategyOption = Annotated[
    str, typer.Option("--strategy", metavar="NAME", help="Only this one; all when left out.")
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="For the tape.")]

_RUNS = Path("runs")


def status(
    session: SessionArgument = None,
    *,
    runs: RunsOption = _RUNS,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Show how a session is: books, orders, connections, latencies."""
    answer = _ask(session, runs, {"action": "status"})
    if as_json:
        print_json(dict(answer))
        return
    if answer["state"] == "stuck":
        print(f"STUCK for {answer['busy_seconds']} s (process {answer['pid']}); "
              "onetape kill takes the strategy out")  # fmt: skip
        return
    print(f"{answer['name']} ({answer['mode']}, {answer['session']}): {answer['state']}")
    what = "bars" if "bars" in answer else "ticks"
    print(f"{answer['now'][:19]}Z, {answer[what]:,} {what}, {answer['open_orders']} open orders")
    for each in answer["down"]:
        print(f"DOWN: {each}")
    _print_missed(answer["actions"])
    print_table(
        ["strategy", "state", ">equity", ">cash", "positions"],
        [
            [name, each["state"], f"{each['equity']:,.2f}", f"{each['cash']:,.2f}",
             ", ".join(f"{units:+g} {of}" for of, units in each["positions"].items()) or "flat"]
            for name, each in answer["strategies"].items()
        ],
    )  # fmt: skip


def stop(
    session: SessionArgument = None,
    *,
    runs: RunsOption = _RUNS,
    reason: ReasonOption = "",
    _debug: DebugOption = False,
) -> None:
    """Stop a session: entries at once, then orders as configured, then the session."""
    _command(session, runs, {"action": "stop", "reason": reason})


def pause(
    session: SessionArgument = None,
    *,
    runs: RunsOption = _RUNS,
    strategy: StrategyOption = "",
    reason: ReasonOption = "",
    _debug: DebugOption = False,
) -> None:
    """Let strategies only reduce what they hold."""
    _command(session, runs, {"action": "pause", "strategy": strategy, "reason": reason})


def resume(
    session: SessionArgument = None,
    *,
    runs: RunsOption = _RUNS,
    strategy: StrategyOption = "",
    reason: ReasonOption = "",
    _debug: DebugOption = False,
) -> None:
    """Let strategies open positions again."""
    _command(session, runs, {"action": "resume", "strategy": strategy, "reason": reason})


def flatten(
    session: SessionArgument = None,
    *,
    runs: RunsOption = _RUNS,
    strategy: StrategyOption = "",
    reason: ReasonOption = "",
    _debug: DebugOption = False,
) -> None:
    """Pause, cancel every order and close every position."""
    _command(session, runs, {"action": "flatten", "strategy": strategy, "reason": reason})


def kill(
    session: SessionArgument = None,
    *,
    runs: RunsOption = _RUNS,
    off: Annotated[bool, typer.Option("--off", help="Lift the kill switch again.")] = False,
    reason: ReasonOption = "",
    _debug: DebugOption = False,
) -> None:
    """Set the kill switch: cancel what opens, refuse everything that does not reduce.

    It works while a strategy is stuck, which is taken out then.
    """
    _command(session, runs, {"action": "unkill" if off else "kill", "reason": reason})


def actions(
    session: SessionArgument = None,
    *,
    runs: RunsOption = _RUNS,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Read the corporate actions anew, and show which are ahead of a session."""
    answer = _ask(session, runs, {"action": "actions"})
    if as_json:
        print_json(dict(answer))
        return
    for each in answer["ahead"]:
        print(each)
    print(f"{len(answer['ahead'])} ahead")
    _print_missed(answer)


def _print_missed(agenda: Mapping[str, Any]) -> None:
    for each in agenda["missed"]:
        print(f"MISSED: {each} (it was announced behind its first row, and is not applied)")
    if agenda["problem"]:
        print(f"CORPORATE ACTIONS: {agenda['problem']}")


def _command(session: str | None, runs: Path, asked: Mapping[str, str]) -> None:
    answer = _ask(session, runs, asked)
    print(f"done{': ' + answer['note'] if 'note' in answer else ''}")


def _ask(session: str | None, runs: Path, asked: Mapping[str, str]) -> Mapping[str, Any]:
    from onetape.runtime.realtime.control_socket import ask_session

    return ask_session(_find(session, runs), asked)


def _find(session: str | None, runs: Path) -> Path:
    """The directory of a running session.

    Raises:
        DataError: There is none like this, or more than one.
    """
    from onetape.runtime.realtime.control_socket import FILE, read_session_id

    if session is not None and Path(session).is_dir():
        return Path(session)
    running = sorted(each.parent for each in runs.glob(f"*/{FILE}"))
    found = [
        each
        for each in running
        if session is None
        or f"-{session}-" in each.name
        or read_session_id(each).startswith(session)
    ]
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(each) for each in running) or "none"
    what = "no session runs" if not running else (
        f"{len(found)} sessions are meant by {session or 'nothing'}"
    )  # fmt: skip
    raise DataError(what, where=str(runs), remedy=f"name one of those that run: {names}")
