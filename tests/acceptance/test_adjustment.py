"""Adjusted series against those of two vendors, from their own raw prices and actions.

Source: the shared data folder. Lean's factor files (seven decimals) over twenty years of eight
symbols, with the 477 actions; Quandl WIKI's adjusted columns of AAPL 2014 and ORCL 2000.
"""

from __future__ import annotations

import csv
import gzip
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.timestamps import NS_PER_DAY
from onetape.marketdata.adjustment import (
    Adjustment,
    DividendBase,
    adjust_bars,
    check_raw,
    compute_factors,
)
from onetape.marketdata.bars import BarColumns
from tests.support.shared_data import SHARED, needs_shared

EQUITY = SHARED / "equity_us"
EVER = 2**62
SPLIT, DIVIDEND = CorporateActionKind.SPLIT, CorporateActionKind.CASH_DIVIDEND


def day(text: str) -> int:
    """Midnight, ns; a session is taken as the whole day."""
    if "-" not in text:
        text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return (date.fromisoformat(text) - date(1970, 1, 1)).days * NS_PER_DAY


def make_daily(days: list[int], values: dict[str, list[float]]) -> BarColumns:
    ts_open = np.array(days, dtype=np.int64)
    times = {"ts_open": ts_open, "ts_close": ts_open + NS_PER_DAY, "ts_known": ts_open + NS_PER_DAY,
             "session_close": ts_open + NS_PER_DAY,
             "quality": np.zeros(len(days), dtype=np.int64)}  # fmt: skip
    return {**times, **{name: np.array(column) for name, column in values.items()}}


def read_raw(symbol: str) -> BarColumns:
    with gzip.open(EQUITY / f"daily_raw/{symbol}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    names = ("open", "high", "low", "close", "volume")
    return make_daily(
        [day(row["date"]) for row in rows],
        {name: [float(row[name]) for row in rows] for name in names},
    )


def make_action(kind: CorporateActionKind, ts: int, value: float) -> CorporateAction:
    return CorporateAction(
        instrument=InstrumentId("X.Y"), kind=kind, ts_event=ts, ts_known=ts, value=value
    )


def read_actions(symbol: str) -> list[CorporateAction]:
    with (EQUITY / "corporate_actions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["symbol"] == symbol.upper()]
    return [
        make_action(SPLIT, day(row["ex_date"]), round(1 / float(row["split_factor"]), 4))
        if row["kind"] == "split"
        else make_action(DIVIDEND, day(row["ex_date"]), float(row["dividend_per_share_implied"]))
        for row in rows
    ]


SYMBOLS = ("spy", "aapl", "ibm", "bac", "iwm", "goog", "googl", "qqq")


@needs_shared
@pytest.mark.parametrize("symbol", SYMBOLS)
def test_factors_equal_the_vendors_factor_file(symbol: str) -> None:
    """The file's numbers have 7 decimals and the implied dividends 6: the error adds up by action.

    Its rule: the row with the smallest date at or after the bar's. QQQ has no bars while it
    traded as QQQQ, so its bars before that are left out: the closes before ex-dates are missing.
    BAC's file measures the dividend of 1998-09-02 by a close of 57.38, below the low of 60.13 that
    its own bar of that day has: bars before it are left out too.
    """
    raw, actions = read_raw(symbol), read_actions(symbol)
    with (EQUITY / f"factor_files/{symbol}.csv").open() as file:
        rows = [(day(row[0]), float(row[1]), float(row[2])) for row in csv.reader(file)]
    at = np.searchsorted([row[0] for row in rows], raw["ts_open"])
    price_factor, split_factor = (np.array([row[n] for row in rows])[at] for n in (1, 2))
    whole = np.ones(len(at), dtype=bool)
    if symbol in ("qqq", "bac"):
        whole = raw["ts_open"] >= day("2011-04-01" if symbol == "qqq" else "1998-09-02")
        assert whole.sum() > 2_000

    split = compute_factors(raw, actions, Adjustment.SPLIT, EVER)
    dividend = compute_factors(raw, actions, Adjustment.DIVIDEND, EVER)
    both = compute_factors(raw, actions, Adjustment.TOTAL_RETURN, EVER)

    in_file = np.array([each.kind is DIVIDEND for each in actions]).sum()
    np.testing.assert_allclose(split.price[whole], split_factor[whole], rtol=6e-5)
    np.testing.assert_allclose(
        dividend.price[whole], price_factor[whole], atol=1e-7 * (2 + in_file)
    )
    np.testing.assert_allclose(both.price, split.price * dividend.price, rtol=1e-13)
    np.testing.assert_allclose(both.volume * split.price, 1.0, rtol=1e-12)


def read_wiki(name: str) -> tuple[BarColumns, dict[str, list[float]], list[CorporateAction]]:
    with (EQUITY / name).open() as file:
        rows = [
            {key.lower().replace(" ", "_").replace(".", "").replace("-", "_"): value
             for key, value in row.items()}
            for row in csv.DictReader(file)
        ]  # fmt: skip
    rows.sort(key=lambda row: row["date"])
    names = ("open", "high", "low", "close", "volume")
    raw = make_daily([day(row["date"]) for row in rows],
                     {name: [float(row[name]) for row in rows] for name in names})  # fmt: skip
    actions: list[CorporateAction] = []
    for row in rows:
        if float(row["split_ratio"]) != 1:
            actions.append(make_action(SPLIT, day(row["date"]), float(row["split_ratio"])))
        if float(row["ex_dividend"]):
            actions.append(make_action(DIVIDEND, day(row["date"]), float(row["ex_dividend"])))
    return raw, {name: [float(row[f"adj_{name}"]) for row in rows] for name in names}, actions


@needs_shared
@pytest.mark.parametrize(
    ("name", "splits", "dividends"), [("wiki_aapl_2014.csv", 1, 4), ("wiki_orcl_2000.csv", 2, 0)]
)
def test_adjusted_prices_equal_the_vendors_to_the_last_decimals(
    name: str, splits: int, dividends: int
) -> None:
    """The vendor's columns go on to later actions: all rows are off by the one factor of those."""
    raw, vendor, actions = read_wiki(name)
    kinds = [each.kind for each in actions]
    assert (kinds.count(SPLIT), kinds.count(DIVIDEND)) == (splits, dividends)

    ours = adjust_bars(raw, actions, Adjustment.TOTAL_RETURN, EVER, DividendBase.EX_CLOSE)

    later = vendor["close"][-1] / raw["close"][-1]
    for column in ("open", "high", "low", "close"):
        np.testing.assert_allclose(ours[column] * later, vendor[column], rtol=1e-12)
    np.testing.assert_allclose(ours["volume"], np.array(vendor["volume"]) * (
        raw["volume"][-1] / vendor["volume"][-1]), rtol=1e-12)  # fmt: skip


@needs_shared
def test_class_a_of_google_goes_on_under_its_new_ticker() -> None:
    """By the map file GOOGL's history to 2014-04-02 is in GOOG's rows; the split joins them.

    The raw close of 1,135.10 of the last day (factor file) is followed by about half of it.
    """
    with (EQUITY / "map_files/googl.csv").open() as file:
        spans = [(day(row[0]), row[1]) for row in csv.reader(file)][1:]
    parts: list[BarColumns] = []
    begin = 0
    for until, ticker in spans:
        rows = read_raw(ticker)
        inside = (rows["ts_open"] >= begin) & (rows["ts_open"] <= until)
        parts.append({name: column[inside] for name, column in rows.items()})
        begin = until + NS_PER_DAY
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    adjusted = adjust_bars(joined, read_actions("googl"), Adjustment.TOTAL_RETURN, EVER)

    returns = np.abs(np.diff(np.log(adjusted["close"])))
    seam = len(parts[0]["close"])
    assert [len(part["close"]) for part in parts] == [2_422, 1_761]
    assert joined["close"][seam - 1] == 1_135.1
    assert returns[seam - 1] < 0.02 < abs(np.log(joined["close"][seam] / 1_135.1))
    assert adjusted["close"][seam - 1] == 567.55


KINDS = ((SPLIT, 2.0), (DIVIDEND, 0.5))
days_of = st.lists(st.integers(1, 30), min_size=3, max_size=12, unique=True).map(sorted)


@given(days_of, st.data())
@settings(max_examples=60, deadline=None)
def test_nothing_after_the_decision_changes_what_it_saw(
    days: list[int], data: st.DataObject
) -> None:
    price = st.integers(50, 150).map(float)
    values = {name: [data.draw(price) for _ in days]
              for name in ("open", "high", "low", "close", "volume")}  # fmt: skip
    columns = make_daily([each * NS_PER_DAY for each in days], values)
    actions = [
        make_action(kind, at * NS_PER_DAY, value)
        for at, (kind, value) in data.draw(
            st.lists(st.tuples(st.integers(1, 32), st.sampled_from(KINDS)), max_size=5)
        )
    ]  # fmt: skip
    now = data.draw(st.integers(1, 32)) * NS_PER_DAY
    adjustment = data.draw(st.sampled_from(list(Adjustment)))
    base = data.draw(st.sampled_from(list(DividendBase)))

    seen = adjust_bars(columns, actions, adjustment, now, base)

    rows = len(seen["close"])
    other = {name: column.copy() for name, column in columns.items()}
    for name in ("open", "high", "low", "close", "volume"):
        other[name][rows:] *= 7.0
    fewer = [each for each in actions if each.ts_event <= now]
    again = adjust_bars(other, fewer, adjustment, now, base)
    cut = adjust_bars({name: column[:rows] for name, column in columns.items()}, fewer, adjustment,
                      now, base)  # fmt: skip
    for name, column in seen.items():
        assert column.tolist() == again[name].tolist() == cut[name].tolist()
    past = [each.ts_event for each in fewer]
    if rows and all(each <= int(columns["ts_open"][rows - 1]) for each in past):
        assert seen["close"][-1] == columns["close"][rows - 1]  # the newest stands as traded


def test_actions_of_one_day_count_the_dividend_in_new_shares() -> None:
    """2 for 1 and 1.00 a new share, after a close of 100: worth 50 before, so 0.98 of it."""
    columns = make_daily([0, NS_PER_DAY], {name: [100.0, 49.0] for name in
                                           ("open", "high", "low", "close", "volume")})  # fmt: skip
    actions = [make_action(DIVIDEND, NS_PER_DAY, 1.0), make_action(SPLIT, NS_PER_DAY, 2.0)]

    factors = compute_factors(columns, actions, Adjustment.TOTAL_RETURN, EVER)

    assert factors.price.tolist() == [0.49, 1.0]
    assert factors.volume.tolist() == [2.0, 1.0]
    assert compute_factors(columns, actions, Adjustment.RAW, EVER).price.tolist() == [1.0, 1.0]


def test_stock_dividend_scales_and_endings_do_not() -> None:
    """One share for ten on top: 11 for 10. What ends a listing says nothing about old prices."""
    names = ("open", "high", "low", "close", "volume")
    columns = make_daily([0, NS_PER_DAY], {name: [110.0, 100.0] for name in names})
    actions = [
        make_action(CorporateActionKind.STOCK_DIVIDEND, NS_PER_DAY, 0.1),
        make_action(CorporateActionKind.DIVIDEND_PAYMENT, NS_PER_DAY, 5.0),
        make_action(CorporateActionKind.MERGER, 2 * NS_PER_DAY, 1.0),
    ]
    factors = compute_factors(columns, actions, Adjustment.SPLIT, EVER)
    assert factors.price.tolist() == [1 / 1.1, 1.0]
    assert factors.volume.tolist() == [1.1, 1.0]
    spun = make_action(CorporateActionKind.SPIN_OFF, NS_PER_DAY, 1.0)
    with pytest.raises(DataError, match="can't be adjusted for a spin_off"):
        compute_factors(columns, [spun], Adjustment.SPLIT, EVER)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [(DIVIDEND, 100.0, "is not below the close of 100"), (SPLIT, 0.0, "gives 0.0 shares")],
)
def test_actions_that_can_not_be_are_refused(
    kind: CorporateActionKind, value: float, message: str
) -> None:
    names = ("open", "high", "low", "close", "volume")
    columns = make_daily([0, NS_PER_DAY], {name: [100.0, 49.0] for name in names})
    action = make_action(kind, NS_PER_DAY, value)
    with pytest.raises(DataError, match=message):
        compute_factors(columns, [action], Adjustment.TOTAL_RETURN, EVER)


A, B = InstrumentId("A.X"), InstrumentId("B.X")


def act(kind: CorporateActionKind) -> CorporateAction:
    return CorporateAction(instrument=A, kind=kind, ts_event=1, ts_known=1, value=1.0)


@pytest.mark.parametrize(
    ("adjustment", "kind", "file_fits", "stored_fits"),
    [
        ("none", SPLIT, True, True),
        ("none", DIVIDEND, True, True),
        ("splits", SPLIT, False, False),
        ("splits", CorporateActionKind.STOCK_DIVIDEND, False, False),
        ("splits", DIVIDEND, True, False),
        ("splits", CorporateActionKind.SYMBOL_CHANGE, True, True),
        ("dividends", SPLIT, True, True),
        ("dividends", DIVIDEND, False, False),
        ("all", DIVIDEND, False, False),
        ("vendor", SPLIT, False, False),
        ("vendor", CorporateActionKind.DELISTING, True, False),
        ("steps", SPLIT, True, True),
    ],
)
def test_actions_go_only_with_prices_of_the_same_shares(
    adjustment: str, kind: CorporateActionKind, *, file_fits: bool, stored_fits: bool
) -> None:
    for as_paid, is_fine in ((False, file_fits), (True, stored_fits)):
        footings = {A: adjustment, B: "none"}
        if is_fine:
            check_raw(footings, [act(kind)], as_paid=as_paid)
            continue
        with pytest.raises(DataError, match=rf"its prices are adjusted \({adjustment}\)"):
            check_raw(footings, [act(kind)], as_paid=as_paid)
        check_raw({A: "none", B: adjustment}, [act(kind)], as_paid=as_paid)
