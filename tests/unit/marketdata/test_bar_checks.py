from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.market import Quality
from onetape.domain.timestamps import from_iso
from onetape.marketdata.bar_checks import CheckRule, CheckSettings, find_rows, look_at
from onetape.marketdata.bar_policies import (
    Policy,
    apply_policies,
    check_dataset,
    parse_policies,
)
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.catalog import Catalog

SPY = InstrumentId("SPY.ARCX")
HALF_HOUR = 1_800_000_000_000
XNYS = build_calendar("XNYS")
NOW = from_iso("2024-06-01")


def make_daily(first: str = "2024-01-02", last: str = "2024-04-30") -> dict[str, Any]:
    """A bar for each session of New York, on a small walk."""
    first_day, last_day = (from_iso(each) // 86_400_000_000_000 for each in (first, last))
    days = XNYS.session_days(first_day, last_day)
    assert days is not None
    bounds = XNYS.bounds(days)
    return _fill(bounds.opens, bounds.closes, bounds.closes)


def make_intraday() -> dict[str, Any]:
    """Half hours of two weeks around the clock change of 2024-03-10."""
    daily = make_daily("2024-03-04", "2024-03-15")
    opens = [
        np.arange(a, b, HALF_HOUR) for a, b in zip(daily["ts_open"], daily["ts_close"], strict=True)
    ]
    ts_open = np.concatenate(opens)
    return _fill(ts_open, ts_open + HALF_HOUR, np.repeat(daily["ts_close"], 13))


def _fill(ts_open: Any, ts_close: Any, session_close: Any) -> dict[str, Any]:
    rows = len(ts_open)
    close = 100 * np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.01, rows)))
    open_ = np.concatenate([[100.0], close[:-1]])
    return {
        "ts_open": ts_open.copy(), "ts_close": ts_close.copy(), "ts_known": ts_close.copy(),
        "session_close": session_close.copy(), "quality": np.zeros(rows, dtype=np.int64),
        "open": open_, "high": np.maximum(open_, close) * 1.001,
        "low": np.minimum(open_, close) * 0.999, "close": close,
        "volume": np.full(rows, 1000.0),
    }  # fmt: skip


def find(
    columns: dict[str, Any], timeframe: str = "1d", calendar: Any = XNYS
) -> dict[str, list[int]]:
    bars = look_at(columns, timeframe, calendar, NOW, CheckSettings())
    found = {rule.value: find_rows(rule, bars).tolist() for rule in CheckRule}
    return {rule: rows for rule, rows in found.items() if rows}


def drop(columns: dict[str, Any], *rows: int) -> dict[str, Any]:
    return {name: np.delete(column, rows) for name, column in columns.items()}


@pytest.mark.parametrize(("columns", "timeframe"), [(make_daily(), "1d"), (make_intraday(), "30m")])
def test_clean_bars_have_no_finding(columns: dict[str, Any], timeframe: str) -> None:
    assert find(columns, timeframe) == {}


def test_each_fault_is_found_where_it_is() -> None:
    bars = make_daily()
    bars["high"][5] = bars["low"][5] * 0.9
    assert find(bars) == {"ohlc": [5]}

    bars = make_daily()
    bars["volume"][[3, 9]] = 0.0
    assert find(bars) == {"zero_volume": [3, 9]}

    bars = make_daily()
    for name in ("open", "high", "low", "close"):
        bars[name][20:25] = bars["close"][20]
    assert find(bars)["stale"] == [20, 21, 22, 23, 24]

    bars = make_daily()
    for name in ("high", "close"):
        bars[name][30] *= 1.4
    assert find(bars)["outlier"] == [30, 31]
    assert "split_like" not in find(bars)

    bars = make_daily()
    for name in ("open", "high", "low", "close"):
        bars[name][40:] /= 3
    assert find(bars) == {"outlier": [40], "split_like": [40]}

    assert find(drop(make_daily(), 10, 11)) == {"gap": [10]}
    assert find({**make_daily(), "volume": np.zeros(len(make_daily()["close"]))}) == {}
    late = make_daily("2024-05-28", "2024-06-04")
    assert find(late)["future"] == [4, 5]


def test_intraday_gaps_sessions_and_shifted_clocks_are_found() -> None:
    assert find(drop(make_intraday(), 20), "30m") == {"gap": [20]}
    assert find(drop(make_intraday(), 13), "30m") == {"gap": [13]}  # the first of its session

    shifted = make_intraday()
    monday = np.flatnonzero(shifted["ts_open"] >= from_iso("2024-03-11"))[:13]
    for name in ("ts_open", "ts_close", "ts_known"):
        shifted[name][monday] += 2 * HALF_HOUR
    found = find(shifted, "30m")
    assert found["hour_shift"] == monday.tolist()
    assert found["outside"] == monday[-2:].tolist()
    assert "hour_shift" not in find(make_intraday(), "30m", build_calendar("24/7"))


def test_break_of_a_session_is_no_gap() -> None:
    calendar = build_calendar("XTKS")
    day = np.array([from_iso("2024-01-05") // 86_400_000_000_000])
    opens = int(calendar.bounds(day).opens[0])
    ts_open = opens + HALF_HOUR * np.array([0, 1, 2, 3, 4, 7, 8, 9, 10, 11])
    bars = _fill(ts_open, ts_open + HALF_HOUR, ts_open + HALF_HOUR * 20)
    assert find(bars, "30m", calendar) == {}
    assert find(drop(bars, 4), "30m", calendar) == {"gap": [4]}


def store(path: Path, columns: dict[str, Any]) -> Catalog:
    catalog = Catalog(path)
    catalog.write_bars(SPY, "1d", columns, source="s", adjustment="none", ts_ingest=1,
                       definition=make_equity(SPY))  # fmt: skip
    return catalog


def faulty() -> dict[str, Any]:
    bars = make_daily()
    bars["high"][5] = bars["low"][5] * 0.9
    bars["volume"][9] = 0.0
    bars["close"][30] *= 1.4
    return bars


def test_policies_are_carried_out_in_a_new_version(tmp_path: Path) -> None:
    catalog = store(tmp_path, faulty())
    policies = parse_policies({"ohlc": "repair", "zero_volume": "flag", "outlier": "quarantine"})

    report = check_dataset(catalog, SPY, "1d", policies, ts_now=NOW)
    done = apply_policies(catalog, report, ts_ingest=2)

    assert done is not None
    now, was = catalog.read_bars(SPY, "1d"), catalog.read_bars(SPY, "1d", version=0)
    assert was["close"].tolist() == faulty()["close"].tolist()
    assert len(now["close"]) == len(was["close"]) - 2
    prices = [was[name][5] for name in ("open", "high", "low", "close")]
    assert (now["high"][5], now["low"][5]) == (max(prices), min(prices))
    flags = {row: Quality(int(now["quality"][row])) for row in np.flatnonzero(now["quality"])}
    # 30 and 31 are gone; what was 32 is 30 now.
    assert flags == {5: Quality.REPAIRED, 9: Quality.SUSPECT, 30: Quality.GAP_BEFORE}
    assert now["ts_open"][30] == was["ts_open"][32]
    again = check_dataset(catalog, SPY, "1d", {}, ts_now=NOW)
    assert apply_policies(catalog, again, ts_ingest=3) is None
    assert catalog.read_many([SPY], "1d")[0].version == done.version


def test_rejected_findings_change_nothing(tmp_path: Path) -> None:
    catalog = store(tmp_path, faulty())
    policies = {CheckRule.OHLC: Policy.REJECT, CheckRule.ZERO_VOLUME: Policy.FLAG}
    report = check_dataset(catalog, SPY, "1d", policies, ts_now=NOW)
    with pytest.raises(DataError, match="rejected: 2 by ohlc"):
        apply_policies(catalog, report, ts_ingest=2)
    assert catalog.read_many([SPY], "1d")[0].version == 0


def test_last_bar_can_be_quarantined_and_a_stale_report_is_refused(tmp_path: Path) -> None:
    bars = make_daily()
    bars["high"][-1] = bars["low"][-1] * 0.9
    catalog = store(tmp_path, bars)
    report = check_dataset(catalog, SPY, "1d", {CheckRule.OHLC: Policy.QUARANTINE}, ts_now=NOW)
    done = apply_policies(catalog, report, ts_ingest=2)
    assert done is not None
    assert done.rows == len(bars["close"]) - 1
    with pytest.raises(DataError, match="changed meanwhile"):
        apply_policies(catalog, report, ts_ingest=3)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"outliers": "flag"}, "did you mean 'outlier'"),
        ({"outlier": "flags"}, "did you mean 'flag'"),
        ({"outlier": "repair"}, "nobody knows how to repair outlier"),
    ],
)
def test_unknown_policies_are_refused(texts: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_policies(texts)
