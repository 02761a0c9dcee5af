"""`onetape data aggregate`: longer bars from the catalog's own."""

from __future__ import annotations

import time
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from onetape.control.options import DEFAULT_CATALOG, CatalogOption, DebugOption


class Alignment(Enum):
    """Where intervals of time begin."""

    SESSION = "session"
    CLOCK = "clock"


class Late(Enum):
    """What happens to rows that come after their bar is over."""

    REFUSE = "refuse"
    DROP = "drop"


def aggregate(
    instrument: Annotated[str, typer.Argument(metavar="ID", help="Like AAPL.XNAS.")],
    *,
    source: Annotated[
        str, typer.Option("--from", metavar="TF", help="The bars to make them of: 1m.")
    ],
    targets: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="TF,...",
            help="Bars to make: 5m, 1h, 1d, 1w, 100tick, 5000volume, 1000000dollar, 2range.",
        ),
    ],
    by: Annotated[
        Alignment | None,
        typer.Option(help="Where intervals begin; 1d and 1w by session, others by the clock."),
    ] = None,
    timezone: Annotated[
        str, typer.Option("--tz", metavar="ZONE", help="Zone of the days of a 24/7 calendar.")
    ] = "",
    grace: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="How long a bar waits for late rows; as long as the slowest row needs if absent.",
        ),
    ] = None,
    late: Annotated[Late, typer.Option(help="What to do with later rows.")] = Late.REFUSE,
    after_close: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="How long after its close a session takes rows: closing auctions.",
        ),
    ] = 0.0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace stored bars that differ.")
    ] = False,
    catalog: CatalogOption = DEFAULT_CATALOG,
    _debug: DebugOption = False,
) -> None:
    """Make longer bars from shorter ones; only bars that are over."""
    from onetape.marketdata.aggregation import LatePolicy
    from onetape.marketdata.bar_rule import parse_bar_rule
    from onetape.marketdata.catalog import Catalog
    from onetape.marketdata.derived_bars import derive_bars

    by_session = None if by is None else by is Alignment.SESSION
    rules = [parse_bar_rule(each, by_session=by_session) for each in targets.split(",")]
    for rule in rules:
        derived = derive_bars(
            Catalog(Path(catalog)),
            instrument,
            source,
            rule,
            ts_ingest=time.time_ns(),
            timezone=timezone,
            grace_ns=None if grace is None else round(grace * 1e9),
            late=LatePolicy(late.value),
            after_close_ns=round(after_close * 1e9),
            replace=replace,
        )
        made, outcome = derived.made, derived.outcome
        written = "nothing new" if outcome.unchanged else f"{outcome.rows_written:,} bars written"
        left = [
            f"{rows:,} rows {why}"
            for rows, why in (
                (made.outside, "outside sessions"),
                (made.late, "late"),
                (made.unfinished, "of bars that are not over"),
            )
            if rows
        ]
        print(
            f"{instrument} {rule.name} from {source}: {written}, {outcome.rows:,} in all, version "
            f"{outcome.version}{', left out: ' if left else ''}{', '.join(left)}"
        )
