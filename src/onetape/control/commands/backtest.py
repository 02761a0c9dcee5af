"""`onetape backtest`: run a configuration over history and write its report."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.boundary import INTERRUPTED, QUARANTINED, print_error
from onetape.control.options import DebugOption, JsonOption, OpenOption, SetOption
from onetape.control.progress import live_progress
from onetape.control.run_output import describe_result, print_quarantined, print_result
from onetape.control.settings import load_backtest
from onetape.control.terminal import open_in_browser, print_json
from onetape.domain.errors import FixInput
from onetape.research.run_directory import make_run_directory, remove_run_directory

if TYPE_CHECKING:
    from onetape.runtime.config import SessionConfig
    from onetape.runtime.sessions.backtest import BacktestResult


def backtest(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML or JSON file.")],
    *,
    set_: SetOption = None,
    as_json: JsonOption = False,
    open_report: OpenOption = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress; print only the run's directory.")
    ] = False,
    _debug: DebugOption = False,
) -> None:
    """Run a backtest, print its figures and write its report."""
    from onetape.research.artifacts import write_artifacts
    from onetape.research.report import write_report
    from onetape.tape.reader import SqliteTapeReader

    result = _simulate(load_backtest(config, set_ or []), quiet=quiet)
    reader = SqliteTapeReader(result.run_dir / "tape.db")
    try:
        summary = write_artifacts(
            result.run_dir, result.timeline, reader.events(), digest=result.digest
        )
    finally:
        reader.close()
    report = write_report(result.run_dir, summary)
    if as_json:
        facts = {"market_events": result.market_events, "seconds": round(result.seconds, 3)}
        print_json(describe_result(summary, result.run_dir, report) | facts)
    elif quiet:
        print(result.run_dir)
    else:
        print_result(summary, result.run_dir, report)
        print(f"Bars:   {result.market_events:,} in {result.seconds:.2f} s, loading included")
    if open_report:
        open_in_browser(report)
    if result.quarantined:
        print_quarantined(result.quarantined)
        raise typer.Exit(QUARANTINED)


def _simulate(config: SessionConfig, *, quiet: bool) -> BacktestResult:
    """Run the session in a directory of its own, which is removed when the input was wrong."""
    from onetape.runtime.config import config_hash
    from onetape.runtime.sessions.backtest import run_backtest

    run_dir = make_run_directory(
        Path(config.output.path), config.name, config_hash(config), datetime.now(UTC)
    )
    try:
        with live_progress(quiet=quiet) as on_progress:
            return run_backtest(config, run_dir, on_progress)
    except FixInput:
        remove_run_directory(run_dir)
        raise
    except KeyboardInterrupt as error:
        if not (run_dir / "tape.db").exists():
            remove_run_directory(run_dir)
            raise
        print_error(f"interrupted; {run_dir} holds an incomplete run (see onetape report)")
        raise typer.Exit(INTERRUPTED) from error
