"""What the rules find in real raw bars: the splits and the holes that are known to be there."""

from __future__ import annotations

import pytest

from onetape.domain.market import CorporateActionKind
from onetape.domain.timestamps import NS_PER_DAY, from_iso, to_iso
from onetape.marketdata.bar_checks import CheckRule, CheckSettings, find_rows, look_at
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.calendars import build_calendar
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
