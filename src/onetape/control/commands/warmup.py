"""`onetape warmup`: measure how much history the features and decisions of a backtest need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.boundary import print_error
from onetape.control.options import DebugOption, JsonOption, SetOption
from onetape.control.run_progress import live_runs
from onetape.control.settings import load_backtest
from onetape.control.terminal import print_json, print_table

if TYPE_CHECKING:
    from onetape.research.warmup import WarmUpReport

_NEVER = "not within the data"


def warmup(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML or JSON file.")],
    *,
    set_: SetOption = None,
    starts: Annotated[
        int, typer.Option(min=1, metavar="N", help="Later beginnings to compare with.")
    ] = 6,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Begin the session later: from which bar on are features and decisions the same?"""
    from onetape.research.session_probe import probe_config
    from onetape.research.warmup import measure_warm_up

    probe = probe_config(load_backtest(config, set_ or []))
    with live_runs(quiet=as_json) as on_runs:
        report = measure_warm_up(probe, starts, on_runs)
    if as_json:
        _print_json(report)
    else:
        _print(report)
    never = [each for each in report.features if each.close is None]
    if never:
        print_error(
            f"feature {never[0].feature} of strategy {never[0].strategy} depends on where the data "
            "begins, to its end (a longer period, or a feature that forgets)"
        )
        raise typer.Exit(report.exit_code)


def _print(report: WarmUpReport) -> None:
    if report.features:
        rows = [
            (
                each.strategy,
                each.feature,
                f"{each.declared:,}",
                _number(each.first_value),
                _number(each.close),
                _number(each.equal),
            )
            for each in report.features
        ]
        print_table(
            ("strategy", "feature", ">warm_up", ">first value", ">within 1e-9", ">equal"), rows
        )
        print()
    rows = [
        (each.strategy, f"{each.intents:,}", _number(each.same), _number(each.equal))
        for each in report.decisions
    ]
    print_table(("strategy", ">intents", ">same decisions", ">same amounts"), rows)
    print()
    starts = ", ".join(f"{each:,}" for each in report.starts)
    print(
        f"Bars from the beginning, the most of {report.runs - 1} beginnings (after {starts} of "
        f"{report.slices:,} slices); {report.runs} runs in {report.seconds:.1f} s"
    )


def _number(value: int | None) -> str:
    return _NEVER if value is None else f"{value:,}"


def _print_json(report: WarmUpReport) -> None:
    import msgspec

    print_json({**msgspec.structs.asdict(report), "seconds": round(report.seconds, 3)})
