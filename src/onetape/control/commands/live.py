"""`onetape paper` and `onetape live`: run a session on a live feed until it is asked to stop."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.control.boundary import QUARANTINED
from onetape.control.options import DebugOption, SetOption
from onetape.control.run_output import print_quarantined, print_result
from onetape.control.session_screen import tell_left, tell_progress
from onetape.control.settings import load_session
from onetape.control.terminal import console
from onetape.domain.errors import CallAPerson, ConfigError, OnetapeError
from onetape.research.run_directory import make_run_directory, remove_run_directory

if TYPE_CHECKING:
    from onetape.runtime.config import SessionConfig
    from onetape.telemetry.session_news import News

OnStatus = Callable[[Mapping[str, Any]], None]
OnNews = Callable[["News"], None]

ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help="A YAML or JSON file.")
]
ResumeOption = Annotated[
    Path | None,
    typer.Option(metavar="RUN_DIR", help="Go on with a session whose process was killed."),
]
GoOnOption = Annotated[
    bool,
    typer.Option(
        "--go-on",
        help="Go on with the newest session of CONFIG's name if it has not ended; else begin one.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print only the run's directory.")]


def paper(
    config: ConfigArgument = None,
    *,
    set_: SetOption = None,
    resume: ResumeOption = None,
    go_on: GoOnOption = False,
    quiet: QuietOption = False,
    _debug: DebugOption = False,
) -> None:
    """Run strategies on a live feed with the simulated venue. Ctrl-C or `onetape stop` ends it."""
    _run("paper", config, set_ or [], resume, goes_on=go_on, quiet=quiet)


def live(
    config: ConfigArgument = None,
    *,
    set_: SetOption = None,
    resume: ResumeOption = None,
    go_on: GoOnOption = False,
    confirm: Annotated[bool, typer.Option("--confirm", help="Yes: trade with real money.")] = False,
    quiet: QuietOption = False,
    _debug: DebugOption = False,
) -> None:
    """Run strategies at a real venue. Ctrl-C or `onetape stop` ends it.

    It asks for limits and for a verified backtest of the same strategies, and for --confirm where
    the endpoint is the one for real money.
    """
    _run("live", config, set_ or [], resume, goes_on=go_on, is_confirmed=confirm, quiet=quiet)


def _run(
    mode: str,
    file: Path | None,
    overrides: Sequence[str],
    resume: Path | None,
    *,
    goes_on: bool,
    is_confirmed: bool = False,
    quiet: bool,
) -> None:
    from onetape.research.artifacts import load_run, save_summary
    from onetape.research.report import write_report
    from onetape.runtime.live_checks import check_live
    from onetape.runtime.sessions.adapters import build_parts
    from onetape.runtime.sessions.live_run import run_live
    from onetape.runtime.sessions.tape_choice import remove_empty_tape
    from onetape.tape.opening import tape_path

    if goes_on and resume is None and file is not None:
        resume = _find_unended(mode, file, overrides)
        if resume is not None:
            file, overrides = None, []
    config, run_dir = _prepare(mode, file, overrides, resume)
    try:
        if config.mode == "live":
            check_live(config, is_confirmed=is_confirmed, is_resumed=resume is not None)
        parts = build_parts(config, os.environ)
        if not quiet:
            print(f"session {run_dir}", file=sys.stderr)
        with _screen(quiet=quiet) as (on_status, on_news):
            result = run_live(config, run_dir, parts, on_status, on_news)
    except (OnetapeError, KeyboardInterrupt):
        if resume is None and remove_empty_tape(tape_path(run_dir)):  # it has not begun
            remove_run_directory(run_dir)
        elif resume is None:
            print(f"session {run_dir} has not ended: onetape {mode} --resume {run_dir} goes on",
                  file=sys.stderr)  # fmt: skip
        raise
    print(f"Ended:  {result.reason}; left: {tell_left(result.status)}", file=sys.stderr)
    _print_left(result.status)
    if quiet:
        print(run_dir)
    elif result.market_events:
        summary = load_run(run_dir)
        save_summary(run_dir, summary)
        print_result(summary, run_dir, write_report(run_dir, summary))
    if result.quarantined:
        print_quarantined(result.quarantined)
    if config.mode == "live" and result.uncanceled:
        raise typer.Exit(CallAPerson.exit_code)
    if result.quarantined:
        raise typer.Exit(QUARANTINED)


def _print_left(status: Mapping[str, Any]) -> None:
    """Orders that nobody watches any more, and differences that nobody has explained."""
    for each in status["orders"]:
        print(
            f"left:   order {each['id']}, {each['side']} {each['quantity']:g} "
            f"{each['instrument']}, {each['status']}", file=sys.stderr,
        )  # fmt: skip
    for each in status["differences"]:
        print(f"left:   {each}", file=sys.stderr)


def _prepare(
    mode: str, file: Path | None, overrides: Sequence[str], resume: Path | None
) -> tuple[SessionConfig, Path]:
    """The configuration, and the directory of the run, which is there."""
    from onetape.runtime.config import config_hash
    from onetape.runtime.sessions.resume import read_config

    if resume is not None:
        if file is not None or overrides:
            raise ConfigError("--resume goes on with the configuration of the session",
                              remedy="leave CONFIG and --set out")  # fmt: skip
        config = read_config(resume)
        if config.mode != mode:
            raise ConfigError(f"the session is a {config.mode} session", where=str(resume),
                              remedy=f"onetape {config.mode} --resume {resume}")  # fmt: skip
        return config, resume
    if file is None:
        raise ConfigError("there is no configuration",
                          remedy=f"onetape {mode} CONFIG, or --resume RUN_DIR")  # fmt: skip
    config = load_session(file, overrides, mode)
    return config, make_run_directory(
        Path(config.output.path), config.name, config_hash(config), datetime.now(UTC)
    )


def _find_unended(mode: str, file: Path, overrides: Sequence[str]) -> Path | None:
    """The newest session of a configuration's name where it has not ended; None: there is none.

    Raises:
        ConfigError: It began with another configuration, and may hold positions.
    """
    from onetape.runtime.config import config_hash
    from onetape.runtime.sessions.resume import read_config
    from onetape.tape.opening import open_tape, tape_path

    config = load_session(file, overrides, mode)
    named = re.compile(rf"\d+T\d+Z-{re.escape(config.name)}-[0-9a-f]{{8}}(-\d+)?")
    runs = [each for each in sorted(Path(config.output.path).glob("*"))
            if named.fullmatch(each.name) and tape_path(each).exists()]  # fmt: skip
    if not runs:
        return None
    newest = runs[-1]
    reader = open_tape(tape_path(newest))
    try:
        if reader.is_complete:
            return None
    finally:
        reader.close()
    if config_hash(read_config(newest)) != config_hash(config):
        raise ConfigError(
            f"{newest} has not ended, and began with another configuration", where=str(file),
            remedy=f"go on with it by onetape {mode} --resume {newest}, and stop it",
        )  # fmt: skip
    return newest


@contextmanager
def _screen(*, quiet: bool) -> Generator[tuple[OnStatus | None, OnNews | None]]:
    """What shows the session: on a terminal a line that says how it is, above it what goes wrong.

    Without a terminal, as under a service manager, each news is a line of the log on stderr.
    """
    if quiet:
        yield None, None
        return
    if not sys.stderr.isatty():
        yield None, lambda news: print(news, file=sys.stderr, flush=True)
        return
    screen = console(stderr=True)
    with screen.status("connecting") as line:

        def show(now: Mapping[str, Any]) -> None:
            equity = sum(each["equity"] for each in now["strategies"].values())
            killed = ", KILL SWITCH" if now["killed"] is not None else ""
            down = f", DOWN: {', '.join(now['down'])}" if now["down"] else ""
            differs = ", THE VENUE'S BOOKS DIFFER" if now["differences"] else ""
            passed = ", BARS PASSED OVER" if now["passed_over"]["why"] else ""
            line.update(
                f"{now['state']} {tell_progress(now)}  {now['open_orders']} open orders  "
                f"equity {equity:,.2f}{killed}{down}{differs}{passed}"
            )

        def tell(news: News) -> None:
            if news.level.value != "info":
                screen.print(str(news))

        yield show, tell
