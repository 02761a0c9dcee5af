"""`onetape report`: measure a run again from its tape, also one that broke off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onetape.control.options import DebugOption, JsonOption, OpenOption
from onetape.control.run_output import describe_result, print_result
from onetape.control.terminal import open_in_browser, print_json


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The directory of a run.")],
    *,
    catalog: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the catalog is now, if it has moved."),
    ] = None,
    open_report: OpenOption = False,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Write and print the report of a run again, from its tape and the data it is pinned to."""
    from onetape.research.artifacts import load_run, save_summary
    from onetape.research.report import write_report

    summary = load_run(run_dir, catalog)
    save_summary(run_dir, summary)
    page = write_report(run_dir, summary)
    if as_json:
        print_json(describe_result(summary, run_dir, page))
    else:
        print_result(summary, run_dir, page)
    if open_report:
        open_in_browser(page)
