"""A report on stored bars, and what is done about what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Quality
from onetape.domain.nearest import nearest
from onetape.marketdata.bar_checks import CheckRule, CheckSettings, find_rows, look_at
from onetape.marketdata.bars import BarColumns, BoolArray, IntArray
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.catalog import Catalog, WriteOutcome
from onetape.marketdata.stored_events import find_splits


class Policy(Enum):
    """What is done about the rows that a rule finds.

    | policy       |                                                                              |
    | ------------ | ---------------------------------------------------------------------------- |
    | `report`     | nothing                                                                      |
    | `reject`     | the check fails                                                              |
    | `flag`       | a new version marks them `SUSPECT`, which events of a session carry          |
    | `quarantine` | a new version is without them, the next bar has `GAP_BEFORE`; the version    |
    |              | before keeps them                                                            |
    | `repair`     | a new version has them repaired and marked `REPAIRED`: only `ohlc`, where    |
    |              | high and low are widened to hold open and close                              |
    """

    REPORT = "report"
    REJECT = "reject"
    FLAG = "flag"
    QUARANTINE = "quarantine"
    REPAIR = "repair"


class Finding(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What one rule found: rows, and what is done about them."""

    rule: CheckRule
    policy: Policy
    rows: IntArray


class CheckReport(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """All findings on one dataset; `columns` are the bars that were looked at."""

    instrument: InstrumentId
    timeframe: str
    version: int
    calendar: str
    columns: BarColumns
    findings: tuple[Finding, ...]

    def found_by(self, policy: Policy) -> IntArray:
        """Rows of all rules with that policy, rising, each once."""
        rows = [each.rows for each in self.findings if each.policy is policy]
        return np.unique(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.int64)


def parse_policies(texts: Mapping[str, str]) -> dict[CheckRule, Policy]:
    """Policies by rule from their names; raises `DataError` with the nearest name."""
    rules = {each.value: each for each in CheckRule}
    policies = {each.value: each for each in Policy}
    parsed: dict[CheckRule, Policy] = {}
    for name, text in texts.items():
        if name not in rules:
            raise DataError(f"rule {name!r} is unknown", remedy=nearest(name, rules))
        if text not in policies:
            raise DataError(f"policy {text!r} is unknown", remedy=nearest(text, policies))
        if policies[text] is Policy.REPAIR and rules[name] is not CheckRule.OHLC:
            raise DataError(f"nobody knows how to repair {name}", remedy="flag or quarantine it")
        parsed[rules[name]] = policies[text]
    return parsed


def check_dataset(
    catalog: Catalog,
    instrument_id: str,
    timeframe: str,
    policies: Mapping[CheckRule, Policy],
    *,
    ts_now: int,
    timezone: str = "",
    settings: CheckSettings | None = None,
) -> CheckReport:
    """Looks at the newest version of a dataset by every rule; changes nothing.

    Args:
        catalog: Where it is.
        instrument_id: Whose bars.
        timeframe: Their length.
        policies: By rule; `report` where there is none.
        ts_now: The caller's clock, ns UTC.
        timezone: Zone of the days of a `24/7` calendar; empty means UTC.
        settings: Thresholds.

    Raises:
        DataError: There is no such dataset.
    """
    definition = catalog.instrument(instrument_id)
    (stored,) = catalog.read_many([instrument_id], timeframe)
    calendar = build_calendar(definition.calendar, timezone)
    splits = None
    if stored.adjustment == "none":  # else they are in the prices
        splits = find_splits(catalog, definition.id, calendar.timezone, stored.columns)
    bars = look_at(stored.columns, timeframe, calendar, ts_now, settings or CheckSettings(), splits)
    return CheckReport(
        instrument=definition.id,
        timeframe=timeframe,
        version=stored.version,
        calendar=calendar.name,
        columns=stored.columns,
        findings=tuple(
            Finding(rule=rule, policy=policies.get(rule, Policy.REPORT), rows=find_rows(rule, bars))
            for rule in CheckRule
        ),
    )


def apply_policies(catalog: Catalog, report: CheckReport, *, ts_ingest: int) -> WriteOutcome | None:
    """Writes a version in which the policies are carried out; None where nothing changes.

    Raises:
        DataError: A rule whose policy is `reject` found rows, all would be left out, or the
            dataset was changed since it was looked at.
    """
    name = f"{report.instrument} {report.timeframe}"
    refused = [each for each in report.findings if each.policy is Policy.REJECT and len(each.rows)]
    if refused:
        counts = ", ".join(f"{len(each.rows):,} by {each.rule.value}" for each in refused)
        raise DataError(f"rejected: {counts}", where=name, remedy="nothing was changed")
    columns = {key: column.copy() for key, column in report.columns.items()}
    rows = len(columns["quality"])
    columns["quality"][report.found_by(Policy.FLAG)] |= int(Quality.SUSPECT)
    _repair(columns, report.found_by(Policy.REPAIR))
    keep: BoolArray = np.ones(rows, dtype=np.bool_)
    gone = report.found_by(Policy.QUARANTINE)
    keep[gone] = False
    if not keep.any():
        raise DataError("every bar would be quarantined", where=name)
    kept = np.flatnonzero(keep)
    after = np.searchsorted(kept, gone)
    columns["quality"][kept[after[after < len(kept)]]] |= int(Quality.GAP_BEFORE)
    changed = any(not np.array_equal(columns[key], report.columns[key]) for key in columns)
    if not changed and keep.all():
        return None
    (stored,) = catalog.read_many([report.instrument], report.timeframe)
    if stored.version != report.version:
        raise DataError("the dataset was changed meanwhile", where=name, remedy="check it again")
    done = [each for each in report.findings if each.policy not in (Policy.REPORT, Policy.REJECT)]
    deeds = ", ".join(f"{each.policy.value} {each.rule.value}" for each in done if len(each.rows))
    return catalog.rewrite_bars(
        report.instrument, report.timeframe,
        {key: column[keep] for key, column in columns.items()},
        source=f"version {report.version}: {deeds}", adjustment=stored.adjustment,
        ts_ingest=ts_ingest,
    )  # fmt: skip


def _repair(columns: BarColumns, rows: IntArray) -> None:
    """Widens high and low; rows whose prices are no positive numbers are not touched."""
    prices = np.array([columns[name][rows] for name in ("open", "high", "low", "close")])
    usable = np.all(np.isfinite(prices) & (prices > 0), axis=0)
    rows, prices = rows[usable], prices[:, usable]
    columns["high"][rows] = prices.max(axis=0, initial=-np.inf)
    columns["low"][rows] = prices.min(axis=0, initial=np.inf)
    columns["quality"][rows] |= int(Quality.REPAIRED)
