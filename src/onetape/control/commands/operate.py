"""`onetape status`, `stop`, `pause` and others: an operator speaks to a running session."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from onetape.control.boundary import print_error
from onetape.control.options import DebugOption, JsonOption
from onetape.control.session_screen import list_missed, print_status, tell_short
from onetape.control.terminal import print_json
from onetape.domain.errors import DataError, OnetapeError

SessionArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SESSION",
        help="A run's directory, the session's name or the beginning of its id; "
        "may be left out when only one runs.",
    ),
]
RunsOption = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where the runs are.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every session that runs there.")]
StrategyOption = Annotated[
    str, typer.Option("--strategy", metavar="NAME", help="Only this one; all when left out.")
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="For the tape.")]

_RUNS = Path("runs")


def status(
    session: SessionArgument = None,
    *,
    all_: AllOption = False,
    runs: RunsOption = _RUNS,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Show how a session is, and why: books, orders, connections, differences, latencies."""
    asked = {"action": "status"}
    if all_ and as_json:
        print_json([dict(answer) for _, answer in _ask_all(session, runs, asked)])
        return
    if all_:
        for _, answer in _ask_all(session, runs, asked):
            print_status(answer)
        return
    answer = _ask(session, runs, asked)
    if as_json:
        print_json(dict(answer))
    else:
        print_status(answer)


def stop(
    session: SessionArgument = None,
    *,
    all_: AllOption = False,
    runs: RunsOption = _RUNS,
    reason: ReasonOption = "",
    _debug: DebugOption = False,
) -> None:
    """Stop a session: entries at once, then orders as configured, then the session."""
    _command(session, runs, {"action": "stop", "reason": reason}, is_all=all_)


def pause(
    session: SessionArgument = None,
    *,
    all_: AllOption = False,
    runs: RunsOption = _RUNS,
    strategy: StrategyOption = "",
    reason: ReasonOption = "",
    _debug: DebugOption = False,
) -> None:
    """Let strategies only reduce what they hold."""
    asked = {"action": "pause", "strategy": strategy, "reason": reason}
    _command(session, runs, asked, is_all=all_)


def resume(
    session: SessionArgument = None,
    *,
    all_: AllOption = False,
    runs: RunsOption = _RUNS,
    strategy: StrategyOption = "",
    reason: ReasonOption = "",
    _debug: DebugOption = False,
) -> None:
    """Let strategies open positions again."""
    asked = {"action": "resume", "strategy": strategy, "reason": reason}
    _command(session, runs, asked, is_all=all_)


def flatten(
    session: SessionArgument = None,
    *,
    all_: AllOption = False,
    runs: RunsOption = _RUNS,
    strategy: StrategyOption = "",
    reason: ReasonOption = "",
    _debug: DebugOption = False,
) -> None:
    """Pause, cancel every order and close every position."""
    asked = {"action": "flatten", "strategy": strategy, "reason": reason}
    _command(session, runs, asked, is_all=all_)


def kill(
    session: SessionArgument = None,
    *,
    all_: AllOption = False,
    runs: RunsOption = _RUNS,
    off: Annotated[bool, typer.Option("--off", help="Lift the kill switch again.")] = False,
    reason: ReasonOption = "",
    _debug: DebugOption = False,
) -> None:
    """Set the kill switch: cancel what opens, refuse everything that does not reduce.

    It works while a strategy is stuck, which is taken out then.
    """
    asked = {"action": "unkill" if off else "kill", "reason": reason}
    _command(session, runs, asked, is_all=all_)


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
    for each in list_missed(answer):
        print(each)


def _command(session: str | None, runs: Path, asked: Mapping[str, str], *, is_all: bool) -> None:
    if is_all:
        for where, answer in _ask_all(session, runs, asked):
            print(f"{where}: {_tell_done(answer)}")
    else:
        print(_tell_done(_ask(session, runs, asked)))


def _tell_done(answer: Mapping[str, Any]) -> str:
    note = f" ({answer['note']})" if "note" in answer else ""
    return f"done{note}: {tell_short(answer['now'])}"


def _ask_all(
    session: str | None, runs: Path, asked: Mapping[str, str]
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Ask one after the other; one that fails does not keep the others from hearing it.

    Raises:
        DataError: There is none; or one was named besides.
        Exit: At the end, where one has failed; with its code.
    """
    from onetape.runtime.realtime.control_socket import ask_session

    code = 0
    for each in _find_all(session, runs):
        try:
            answer = ask_session(each, asked)
        except OnetapeError as error:
            print_error(str(error))
            code = max(code, error.exit_code)
            continue
        yield each, answer
    if code:
        raise typer.Exit(code)


def _ask(session: str | None, runs: Path, asked: Mapping[str, str]) -> Mapping[str, Any]:
    from onetape.runtime.realtime.control_socket import ask_session

    return ask_session(_find(session, runs), asked)


def _find_all(session: str | None, runs: Path) -> list[Path]:
    """The directories of all sessions that run.

    Raises:
        DataError: There is none; or one was named besides.
    """
    if session is not None:
        raise DataError("is not all of them", where=session, remedy="leave one of both out")
    running, gone = _list_sessions(runs)
    if not running:
        raise _no_session(runs, gone)
    return running


def _find(session: str | None, runs: Path) -> Path:
    """The directory of a session that runs; one that is named may be gone: asking it tells that.

    Raises:
        DataError: There is none like this, or more than one.
    """
    from onetape.runtime.realtime.control_socket import read_session_id

    if session is not None and Path(session).is_dir():
        return Path(session)

    def is_meant(run_dir: Path) -> bool:
        return (
            session is None
            or f"-{session}-" in run_dir.name
            or read_session_id(run_dir).startswith(session)
        )

    running, gone = _list_sessions(runs)
    found = [each for each in running if is_meant(each)]
    if not found and session is not None:
        found = [each for each in gone if is_meant(each)]
    if len(found) == 1:
        return found[0]
    if not running:
        raise _no_session(runs, gone)
    names = ", ".join(str(each) for each in found or running)
    if not found:
        raise DataError(f"no session that runs is {session}", where=str(runs),
                        remedy=f"name one of these: {names}")  # fmt: skip
    raise DataError(f"{len(found)} sessions run{f' as {session}' if session else ''}",
                    where=str(runs), remedy=f"say --all, or which: {names}")  # fmt: skip


def _list_sessions(runs: Path) -> tuple[list[Path], list[Path]]:
    """Directories of sessions that run, and of those whose process is gone without an end."""
    from onetape.runtime.realtime.control_socket import FILE, is_running

    running: list[Path] = []
    gone: list[Path] = []
    for each in sorted(file.parent for file in runs.glob(f"*/{FILE}")):
        (running if is_running(each) else gone).append(each)
    return running, gone


def _no_session(runs: Path, gone: list[Path]) -> DataError:
    if not gone:
        return DataError("no session runs", where=str(runs),
                         remedy="begin one, or say --runs DIR")  # fmt: skip
    names = ", ".join(str(each) for each in gone)
    return DataError(
        "no session runs", where=str(runs),
        remedy=f"without a process, and not ended: {names}; onetape paper --resume, or live "
        "--resume, goes on with one",
    )  # fmt: skip
