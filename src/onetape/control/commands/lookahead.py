"""`onetape lookahead`: prove that no decision of a backtest knew what came later."""

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
    from onetape.research.lookahead import Finding, LookaheadReport

_CHANGES = {
    "changed": "prices and volumes changed",
    "gaps": "3 rows of 10 missing",
    "deleted": "deleted",
}


def lookahead(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML or JSON file.")],
    *,
    set_: SetOption = None,
    points: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Times after which the data is changed."),
    ] = 20,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Change and delete all data after many times: no decision up to then may move."""
    from onetape.research.lookahead import prove_no_lookahead
    from onetape.research.session_probe import probe_config

    probe = probe_config(load_backtest(config, set_ or []))
    with live_runs(quiet=as_json) as on_runs:
        report = prove_no_lookahead(probe, points, on_runs)
    if as_json:
        print_json(_describe(report))
    else:
        _print(report)
    if report.findings:
        print_error(report.findings[0].story)
        raise typer.Exit(report.exit_code)


def _print(report: LookaheadReport) -> None:
    if report.attempts:
        rows = [
            (
                _CHANGES[each.change],
                "all at once" if each.instruments == "all" else "one at a time",
                f"{each.runs:,}",
                f"{each.decisions_moved:,}",
                f"{each.features_moved:,}",
            )
            for each in report.attempts
        ]
        heads = ("data after t", "instruments", ">times t", ">decisions moved", ">features moved")
        print_table(heads, rows)
        print()
    for finding in report.findings:
        _print_finding(finding)
    for each in report.carried:
        print(
            f"Not covered: {each.numbers:,} numbers in {each.where} of strategy {each.strategy}; "
            "no change of the data can move them."
        )
    for reason in report.untested:
        print(f"Not tried: {reason}")
    verdict = f"{len(report.findings)} found" if report.findings else "none found"
    print(
        f"Look-ahead: {verdict}; {report.runs:,} runs over {report.rows:,} rows and "
        f"{report.events:,} events in {report.seconds:.1f} s"
    )


def _print_finding(finding: Finding) -> None:
    from onetape.domain.timestamps import to_iso

    print(f"{finding.kind.upper()}: {finding.story}")
    if finding.ts_cut:
        whose = f" of {finding.instrument}" if finding.instrument else ""
        print(f"  data{whose} after {to_iso(finding.ts_cut)}: {_CHANGES[finding.change]}")
    if finding.ts_reach:
        rows = f"{finding.rows_ahead:,} row" + ("s" if finding.rows_ahead > 1 else "")
        print(f"  looks ahead to {to_iso(finding.ts_reach)}, {rows}")
    print(f"  before: {finding.before}")
    if finding.after:
        print(f"  after:  {finding.after}")
    print()


def _describe(report: LookaheadReport) -> dict[str, object]:
    """The report for programs."""
    import msgspec

    return {
        **msgspec.structs.asdict(report),
        "seconds": round(report.seconds, 3),
        "findings": [
            {**msgspec.structs.asdict(each), "story": each.story} for each in report.findings
        ],
    }
