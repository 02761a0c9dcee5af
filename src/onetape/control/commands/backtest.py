"""`onetape backtest`: run a configuration over history and write its report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.boundary import INTERRUPTED, QUARANTINED, print_error
from onetape.control.interrupts import stop_asked
from onetape.control.options import (
    CatalogNowOption,
    DebugOption,
    JsonOption,
    OpenOption,
    SetOption,
)
from onetape.control.progress import live_progress
from onetape.control.run_output import (
    describe_host,
    describe_result,
    describe_speed,
    print_quarantined,
    print_result,
)
from onetape.control.settings import load_backtest
from onetape.control.terminal import open_in_browser, print_json
from onetape.domain.errors import ConfigError, FixInput
from onetape.research.run_directory import make_run_directory, remove_run_directory

if TYPE_CHECKING:
    from onetape.runtime.config import SessionConfig
    from onetape.runtime.sessions.backtest_run import BacktestResult


def backtest(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="A YAML or JSON file.")
    ] = None,
    *,
    set_: SetOption = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN_DIR", help="Go on with a run that was killed or stopped."),
    ] = None,
    catalog: CatalogNowOption = None,
    as_json: JsonOption = False,
    open_report: OpenOption = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress; print only the run's directory.")
    ] = False,
    _debug: DebugOption = False,
) -> None:
    """Run a backtest, print its figures and write its report.

    A run that was killed goes on with `--resume RUN_DIR` and ends as if nothing had happened.
    """
    from onetape.research.artifacts import write_artifacts
    from onetape.research.report import write_report
    from onetape.tape.opening import open_tape, tape_path

    result = _run(config, set_ or [], resume, catalog, quiet=quiet)
    reader = open_tape(tape_path(result.run_dir))
    try:
        summary = write_artifacts(
            result.run_dir, result.timeline, reader.events(), digest=result.digest
        )
    finally:
        reader.close()
    report = write_report(result.run_dir, summary)
    if as_json:
        facts = {
            "market_events": result.market_events,
            "seconds": round(result.seconds, 3),
            "performance": result.measurements,
        }
        print_json(describe_result(summary, result.run_dir, report) | facts)
    elif quiet:
        print(result.run_dir)
    else:
        print_result(summary, result.run_dir, report)
        print(f"Bars:   {result.market_events:,} in {result.seconds:.2f} s, loading included")
        if result.measurements is not None:
            print(f"Speed:  {describe_speed(result.measurements)}")
            print(f"Host:   {describe_host(result.measurements)}")
    if open_report:
        open_in_browser(report)
    if result.quarantined:
        print_quarantined(result.quarantined)
        raise typer.Exit(QUARANTINED)


def _run(
    file: Path | None,
    overrides: Sequence[str],
    resume: Path | None,
    catalog: Path | None,
    *,
    quiet: bool,
) -> BacktestResult:
    """A new run of a configuration, or the rest of one."""
    if resume is not None and (file is not None or overrides):
        raise ConfigError("--resume goes on with the configuration of the run",
                          remedy="leave CONFIG and --set out")  # fmt: skip
    if resume is None and catalog is not None:
        raise ConfigError("--catalog says where the catalog of a run to resume is now",
                          remedy="set data.path for a new run")  # fmt: skip
    if resume is not None:
        return _resume(resume, catalog, quiet=quiet)
    if file is None:
        raise ConfigError("there is no configuration",
                          remedy="onetape backtest CONFIG, or --resume RUN_DIR")  # fmt: skip
    return _simulate(load_backtest(file, overrides), quiet=quiet)


def _resume(run_dir: Path, catalog: Path | None, *, quiet: bool) -> BacktestResult:
    from onetape.runtime.sessions.resume import resume_backtest

    try:
        with live_progress(quiet=quiet) as on_progress, stop_asked() as is_stop_asked:
            return resume_backtest(run_dir, catalog, on_progress, is_stop_asked)
    except KeyboardInterrupt as error:
        raise _interrupted(run_dir) from error


def _interrupted(run_dir: Path) -> typer.Exit:
    print_error(f"interrupted; go on with: onetape backtest --resume {run_dir}")
    return typer.Exit(INTERRUPTED)


def _simulate(config: SessionConfig, *, quiet: bool) -> BacktestResult:
    """Run the session in a directory of its own, which is removed when the input was wrong."""
    from onetape.runtime.config import config_hash
    from onetape.runtime.sessions.backtest_run import run_backtest
    from onetape.tape.opening import tape_path

    run_dir = make_run_directory(
        Path(config.output.path), config.name, config_hash(config), datetime.now(UTC)
    )
    try:
        with live_progress(quiet=quiet) as on_progress, stop_asked() as is_stop_asked:
            return run_backtest(config, run_dir, on_progress, is_stop_asked)
    except FixInput:
        remove_run_directory(run_dir)
        raise
    except KeyboardInterrupt as error:
        if not tape_path(run_dir).exists():
            remove_run_directory(run_dir)
            raise
        raise _interrupted(run_dir) from error
