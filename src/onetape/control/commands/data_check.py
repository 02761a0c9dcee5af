"""`onetape data check`: what is doubtful about stored bars, and what to do about it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onetape.control.options import DEFAULT_CATALOG, CatalogOption, DebugOption, JsonOption
from onetape.control.terminal import print_json, print_table
from onetape.domain.errors import ConfigError
from onetape.domain.timestamps import to_iso

if TYPE_CHECKING:
    from onetape.marketdata.bar_policies import CheckReport


def check(
    instrument: Annotated[str, typer.Argument(metavar="ID", help="Like AAPL.XNAS.")],
    *,
    timeframe: Annotated[str, typer.Option(metavar="TF", help="Which bars.")] = "1d",
    policy: Annotated[
        str,
        typer.Option(
            metavar="RULE=POLICY,...",
            help="What is done about findings: report, reject, flag, quarantine, repair, e.g. "
            "outlier=flag,ohlc=repair. Report unless told.",
        ),
    ] = "",
    timezone: Annotated[
        str, typer.Option("--tz", metavar="ZONE", help="Zone of the days of a 24/7 calendar.")
    ] = "",
    robust_z: Annotated[
        float, typer.Option(min=1, help="Robust deviations that make an outlier.")
    ] = 12.0,
    stale_bars: Annotated[int, typer.Option(min=2, help="Equal bars that make a stale run.")] = 5,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as a page, too.")
    ] = None,
    catalog: CatalogOption = DEFAULT_CATALOG,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Look at stored bars by every rule, and carry out policies in a new version."""
    from onetape.marketdata.bar_checks import CheckSettings
    from onetape.marketdata.bar_policies import apply_policies, check_dataset, parse_policies
    from onetape.marketdata.catalog import Catalog

    store, ts_now = Catalog(catalog), time.time_ns()
    report = check_dataset(
        store,
        instrument,
        timeframe,
        parse_policies(_pairs(policy)),
        ts_now=ts_now,
        timezone=timezone,
        settings=CheckSettings(robust_z=robust_z, stale_bars=stale_bars),
    )
    if html is not None:
        from onetape.research.quality_page import render_quality_page

        html.write_text(render_quality_page(report), encoding="utf-8")
    if as_json:
        print_json(_as_plain(report))
    else:
        _print(report)
    outcome = apply_policies(store, report, ts_ingest=ts_now)
    if outcome is not None and not as_json:
        print(f"\nVersion {outcome.version} holds {outcome.rows:,} bars.")


def _print(report: CheckReport) -> None:
    ts_open = report.columns["ts_open"]
    rows = [
        (
            each.rule.value,
            f"{len(each.rows):,}",
            each.policy.value,
            ", ".join(to_iso(int(ts_open[row])) for row in each.rows[:3])
            + (", ..." if len(each.rows) > 3 else ""),
        )
        for each in report.findings
    ]
    print(
        f"{report.instrument} {report.timeframe}, version {report.version}: {len(ts_open):,} bars "
        f"from {to_iso(int(ts_open[0]))} on, calendar {report.calendar}"
    )
    print_table(("rule", ">bars", "policy", "open of the first"), rows)


def _as_plain(report: CheckReport) -> dict[str, object]:
    ts_open = report.columns["ts_open"]
    return {
        "instrument": report.instrument,
        "timeframe": report.timeframe,
        "version": report.version,
        "rows": len(ts_open),
        "findings": [
            {
                "rule": each.rule.value,
                "policy": each.policy.value,
                "rows": len(each.rows),
                "opens": [to_iso(int(ts)) for ts in ts_open[each.rows]],
            }
            for each in report.findings
        ],
    }


def _pairs(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        rule, sign, policy = part.partition("=")
        if not sign:
            raise ConfigError(f"--policy {part!r} is not RULE=POLICY",
                              remedy="write it like outlier=flag,ohlc=repair")  # fmt: skip
        pairs[rule] = policy
    return pairs
