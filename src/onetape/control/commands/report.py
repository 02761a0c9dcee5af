"""`onetape report`: measure a run again from its tape, also one that broke off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.options import DebugOption, JsonOption, OpenOption
from onetape.control.run_output import describe_result, print_result
from onetape.control.terminal import open_in_browser, print_json
from onetape.domain.errors import DataError

if TYPE_CHECKING:
    from onetape.domain.events import SessionStarted
    from onetape.marketdata.timeline import Timeline


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
    from onetape.research.artifacts import write_artifacts
    from onetape.research.report import write_report
    from onetape.tape.reader import SqliteTapeReader

    reader = SqliteTapeReader(run_dir / "tape.db")
    try:
        timeline = _load_pinned(reader.header, catalog or _read_catalog_path(run_dir))
        summary = write_artifacts(run_dir, timeline, reader.events(), digest=reader.digest)
    finally:
        reader.close()
    page = write_report(run_dir, summary)
    if as_json:
        print_json(describe_result(summary, run_dir, page))
    else:
        print_result(summary, run_dir, page)
    if open_report:
        open_in_browser(page)


def _read_catalog_path(run_dir: Path) -> Path:
    """Where the catalog was when the run was made; the tape does not say."""
    from onetape.runtime.config import load_config

    return Path(load_config(run_dir / "config.json", [], {}).data.path)


def _load_pinned(header: SessionStarted, catalog: Path) -> Timeline:
    """The market data of a session, the very rows that it ran on.

    Raises:
        DataError: The catalog is not there, or holds other rows at the pinned versions.
    """
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.timeline import load_timeline
    from onetape.runtime.config import HistoricalClock, SessionConfig

    config = SessionConfig.model_validate_json(header.config)
    if not isinstance(config.clock, HistoricalClock):
        raise DataError(f"the run is no backtest: its mode is {header.mode}")
    timeline = load_timeline(
        Catalog(catalog),
        config.data.instruments,
        config.data.timeframe,
        config.clock.ts_start,
        config.clock.ts_end,
        {pin.instrument: pin.table_version for pin in header.datasets},
    )
    if list(timeline.datasets) != header.datasets:
        raise DataError("the catalog holds other bars than the run was made with",
                        where=str(catalog),
                        remedy="point --catalog at the catalog of the run")  # fmt: skip
    return timeline
