"""`onetape sweep`: run a strategy with many sets of params, and rank them."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.control.boundary import INTERRUPTED, QUARANTINED, print_error
from onetape.control.options import DebugOption, JsonOption, OpenOption, SetOption
from onetape.control.settings import load_backtest
from onetape.control.sweep_progress import live_sweep
from onetape.control.terminal import open_in_browser, plain, print_json, print_table

if TYPE_CHECKING:
    from onetape.research.sweep_plan import SweepPlan
    from onetape.research.sweep_report import SweepReport
    from onetape.research.sweep_run import SweepResult


class HostOption(Enum):
    """What runs the sets."""

    AUTO = "auto"
    COMPILED = "compiled"
    PYTHON = "python"


def sweep(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML or JSON file.")],
    *,
    params: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            metavar="NAME=VALUES",
            help="Values of a param: 5:50:5 (stop included), 5,10,20 or 5. May be repeated.",
        ),
    ] = None,
    where: Annotated[
        str, typer.Option(metavar="CONDITION", help='Only sets for which it holds: "fast<slow".')
    ] = "",
    metric: Annotated[
        str,
        typer.Option(
            metavar="FIGURE",
            help="What ranks the sets: sharpe, sortino, calmar, return, drawdown, any figure.",
        ),
    ] = "sharpe",
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Threads or processes; one a core unless told."),
    ] = None,
    host: Annotated[
        HostOption, typer.Option(help="auto: compiled where the strategy can be compiled.")
    ] = HostOption.AUTO,
    set_: SetOption = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Go on with the same sweep, which was interrupted."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Run more than a million combinations without asking.")
    ] = False,
    as_json: JsonOption = False,
    open_report: OpenOption = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress; print only the sweep's directory.")
    ] = False,
    _debug: DebugOption = False,
) -> None:
    """Run every combination of some params of a strategy, and rank the sets."""
    from onetape.research.sweep_plan import make_plan
    from onetape.research.sweep_report import write_sweep_report
    from onetape.research.sweep_run import SweepInterrupted, SweepWatch, run_sweep

    plan = make_plan(load_backtest(config, set_ or []), params or [], where, metric)
    _ask(plan, yes=yes)
    try:
        with live_sweep(plan.metric, quiet=quiet) as on_progress:
            watch = SweepWatch(on_progress=on_progress, on_note=_note)
            result = run_sweep(
                plan,
                now=datetime.now(UTC),
                workers=workers,
                host=host.value,
                resume=resume,
                watch=watch,
            )
    except SweepInterrupted as error:
        print_error(f"{error}; go on with: {_resume_command(error.directory)}")
        raise typer.Exit(INTERRUPTED) from error
    source = [str(config), *(part for each in set_ or [] for part in ("--set", each))]
    report = write_sweep_report(result, source)
    if as_json:
        print_json(_describe(result, report))
    elif quiet:
        print(result.directory)
    else:
        _print(result, report)
    if open_report:
        open_in_browser(report.page)
    if result.quarantined or result.failed:
        _note(
            f"the strategy raised in {result.quarantined:,} sets, and {result.failed:,} could not "
            f"be run: {report.page.parent} says why"
        )
        raise typer.Exit(QUARANTINED)


def _ask(plan: SweepPlan, *, yes: bool) -> None:
    """More than a million combinations are run only when somebody wants that."""
    from onetape.research.sweep import refuse_large

    if not plan.is_large or yes:
        return
    if not sys.stdin.isatty():
        raise refuse_large(plan)
    typer.confirm(
        f"The grid has {plan.grid.combinations:,} combinations. Run them?", abort=True, err=True
    )


def _note(text: str) -> None:
    typer.echo(plain(f"note: {text}"), err=True)


def _resume_command(directory: Path) -> str:
    """The command that was given, with --resume."""
    given = sys.argv[1:]
    if "--resume" not in given:
        given = [*given, "--resume", str(directory)]
    return shlex.join(["onetape", *given])


def _print(result: SweepResult, report: SweepReport) -> None:
    """The best sets on stdout, what luck has to do with it, and where everything lies."""
    counts = result.plan.counts
    columns = [column if at == 0 else f">{column}" for at, column in enumerate(report.best.columns)]
    rows = [tuple(map(plain, row)) for row in report.best.rows]
    print_table(columns, rows)
    print()
    for sentence in result.verdict.sentences:
        print(plain(sentence))
    print()
    told = f"{result.sets:,} sets"
    if counts.left_out:
        told += f", {counts.left_out:,} left out by --where"
    if counts.refused:
        told += f", {counts.refused:,} refused by {result.plan.kind.__name__}.check_params"
    ran = f"{result.ran:,} ran in {result.seconds:.2f} s" if result.ran else "none ran now"
    ran += f" in the {result.host} host" if result.host else ""
    print(f"Sets:   {told}; {ran}")
    print(f"Sweep:  {result.directory}")
    print(f"Report: {report.page}")
    print(f"Again:  {report.commands[0]}")


def _describe(result: SweepResult, report: SweepReport) -> dict[str, Any]:
    """The same for programs: what was run, the best sets, and where everything lies."""
    import msgspec

    verdict = result.verdict
    return {
        "directory": str(result.directory),
        "report": str(report.page),
        "sweep": msgspec.Raw((result.directory / "sweep.json").read_bytes()),
        "ran": result.ran,
        "seconds": round(result.seconds, 3),
        "quarantined": result.quarantined,
        "failed": result.failed,
        "best": [
            {**row, "again": command}
            for row, command in zip(result.best.to_dicts(), report.commands, strict=True)
        ],
        "overfitting": {
            "trials": verdict.trials,
            "sharpe_ratio": verdict.sharpe_ratio,
            "expected_max_sharpe": verdict.expected_max_sharpe,
            "psr": verdict.psr,
            "dsr": verdict.dsr,
            "pbo": verdict.pbo,
            "sentences": verdict.sentences,
        },
    }
