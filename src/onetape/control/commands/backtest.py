"""`onetape backtest`: run a configuration over history and write its report."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.boundary import INTERRUPTED, QUARANTINED, print_error
from onetape.control.options import DebugOption, JsonOption, OpenOption, SetOption
from onetape.control.progress import live_progress
from onetape.control.run_directory import make_run_directory
from onetape.control.run_output import RunOutput, print_quarantined, print_result, print_result_json
from onetape.control.settings import load_backtest
from onetape.control.terminal import open_in_browser
from onetape.domain.errors import FixInput

if TYPE_CHECKING:
    from onetape.runtime.config import SessionConfig
    from onetape.runtime.sessions.backtest import BacktestResult


def backtest(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML or JSON file.")],
    *,
    set_: SetOption = None,
    as_json: JsonOption = False,
    open_report: OpenOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but the path.")] = False,
    _debug: DebugOption = False,
) -> None:
    """Run a backtest; print its figures and write its report."""
    output = _run(load_backtest(config, set_ or []), quiet=quiet)
    if as_json:
        print_result_json(output)
    elif quiet:
        print(output.result.run_dir)
    else:
        print_result(output)
    if open_report:
        open_in_browser(output.report)
    if output.result.quarantined:
        print_quarantined(output.result.quarantined)
        raise typer.Exit(QUARANTINED)


def _run(config: SessionConfig, *, quiet: bool) -> RunOutput:
    from onetape.research.artifacts import write_artifacts
    from onetape.research.report import write_report
    from onetape.tape.reader import SqliteTapeReader

    result = _simulate(config, quiet=quiet)
    reader = SqliteTapeReader(result.run_dir / "tape.db")
    try:
        summary = write_artifacts(
            result.run_dir, result.timeline, reader.events(), digest=result.digest
        )
    finally:
        reader.close()
    return RunOutput(config.name, result, summary, write_report(result.run_dir, summary))


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
        shutil.rmtree(run_dir)
        raise
    except KeyboardInterrupt as error:
        print_error(f"interrupted; the run in {run_dir} is incomplete")
        raise typer.Exit(INTERRUPTED) from error
