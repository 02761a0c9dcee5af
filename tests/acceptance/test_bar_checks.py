"""What the rules find in real raw bars: the splits and the holes that are known to be there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.market import CorporateActionKind
from onetape.domain.timestamps import NS_PER_DAY, from_iso, to_iso
from onetape.marketdata.bar_checks import CheckRule, CheckSettings, find_rows, look_at
from onetape.marketdata.bar_policies import check_dataset
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.corporate_actions import ActionRow
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.stored_events import to_columns
from tests.acceptance.test_adjustment import read_actions, read_raw
from tests.support.shared_data import needs_shared

pytestmark = needs_shared


def read_sessions(symbol: str) -> BarColumns:
    raw = read_raw(symbol)
    bounds = build_calendar("XNYS").bounds(raw["ts_open"] // NS_PER_DAY)
    assert bounds.known.all()
    return {**raw, "ts_open": bounds.opens, "ts_close": bounds.closes, "ts_known": bounds.closes}


@pytest.mark.parametrize(
    ("symbol", "outliers"),
    [("aapl", 5), ("spy", 4), ("ibm", 3), ("bac", 21), ("iwm", 2), ("qqq", 3), ("goog", 4)],
)
def test_real_raw_series_show_their_splits_and_holes(symbol: str, outliers: int) -> None:
    """Every split of the 477 actions and nothing else, though Apple fell by half on 2000-09-29.

    GOOG's rows are of the class A share before 2014-04-03; its 1.0027 for 1 of 2015 shows nowhere.
    QQQ has no rows while it traded as QQQQ. Outliers are the crises of 2000, 2008 and 2020.
    """
    raw = read_sessions(symbol)
    bars = look_at(raw, "1d", build_calendar("XNYS"), from_iso("2022-01-01"), CheckSettings())
    found = {rule: [to_iso(int(ts))[:10] for ts in raw["ts_open"][find_rows(rule, bars)]]
             for rule in CheckRule}  # fmt: skip

    splits = [to_iso(each.ts_event)[:10] for each in read_actions(symbol)
              if each.kind is CorporateActionKind.SPLIT]  # fmt: skip
    assert found.pop(CheckRule.SPLIT_LIKE) == (["2014-04-03"] if symbol == "goog" else splits)
    assert found.pop(CheckRule.GAP) == (["2011-03-23"] if symbol == "qqq" else [])
    assert len(found.pop(CheckRule.OUTLIER)) == outliers
    assert [rule for rule, dates in found.items() if dates] == []


def test_splits_that_the_catalog_knows_are_no_outliers(tmp_path: Path) -> None:
    """Of Apple's five outliers four are splits; 2000-09-29, its fall by half, is left."""
    raw = read_sessions("aapl")
    catalog = Catalog(tmp_path)
    aapl = make_equity(InstrumentId("AAPL.XNAS"))
    catalog.write_bars(aapl.id, "1d", raw, source="s", adjustment="none", ts_ingest=1,
                       definition=aapl)  # fmt: skip

    def check() -> dict[CheckRule, list[str]]:
        report = check_dataset(catalog, aapl.id, "1d", {}, ts_now=from_iso("2022-01-01"))
        return {each.rule: [to_iso(int(ts))[:10] for ts in raw["ts_open"][each.rows]]
                for each in report.findings if len(each.rows)}  # fmt: skip

    assert len(check()[CheckRule.SPLIT_LIKE]) == 4
    rows = [
        ActionRow(where="", instrument=aapl.id, kind=each.kind, day=each.ts_event // NS_PER_DAY,
                  ts=None, value=each.value, divisor=each.divisor)
        for each in read_actions("aapl")
    ]  # fmt: skip
    records = catalog.records
    records.write(RecordKind.CORPORATE_ACTIONS, aapl.id, to_columns(rows), source="s", ts_ingest=1)
    assert check() == {CheckRule.OUTLIER: ["2000-09-29"]}
    wrong = [msgspec.structs.replace(each, day=(each.day or 0) + 20) for each in rows]
    records.write(RecordKind.CORPORATE_ACTIONS, aapl.id, to_columns(wrong), source="s",
                  ts_ingest=2, whole=True)  # fmt: skip
    assert len(check()[CheckRule.OUTLIER]) == 9  # a split that is told and isn't there is one too
