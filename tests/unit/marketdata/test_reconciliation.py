"""One series out of several: against a twin that goes value by value, and on real providers."""

from __future__ import annotations

import csv
import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.market import BAR_FLOAT_COLUMNS, Quality
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.bars import BarColumns, check_columns
from onetape.marketdata.footing import find_footing
from onetape.marketdata.provenance import make_provenance, read_provenance, write_provenance
from onetape.marketdata.reconciliation import (
    PRICES,
    ProviderBars,
    Reconciled,
    ReconcileOptions,
    Unresolved,
    reconcile,
)
from onetape.marketdata.reconciliation_report import build_report, render_html
from tests.support.shared_data import SHARED, needs_shared

Row = tuple[float, float, float, float, float]


def make_columns(rows: dict[int, Row], known_after: int = 0) -> BarColumns:
    """Daily bars by day since 1970."""
    days = sorted(rows)
    opens = np.array(days, dtype=np.int64) * NS_PER_DAY
    columns: BarColumns = {
        "ts_open": opens,
        "ts_close": opens + NS_PER_DAY,
        "ts_known": opens + NS_PER_DAY + known_after,
        "session_close": opens + NS_PER_DAY,
        "quality": np.zeros(len(days), dtype=np.int64),
    }
    for place, name in enumerate(BAR_FLOAT_COLUMNS):
        columns[name] = np.array([rows[day][place] for day in days], dtype=np.float64)
    return columns


def provider(name: str, rows: dict[int, Row], known_after: int = 0) -> ProviderBars:
    return ProviderBars(name, make_columns(rows, known_after), "none")


def bar(close: float, volume: float = 1.0) -> Row:
    return (close, close + 1, close - 1, close, volume)


def resolve(bars: dict[str, dict[int, Row]], **options) -> Reconciled:
    providers = [provider(name, rows) for name, rows in bars.items()]
    return reconcile(providers, ReconcileOptions(priority=tuple(bars), **options))


def closes(result: Reconciled) -> list[float]:
    return result.columns["close"].tolist()


# A twin without arrays.


def twin(bars: dict[str, dict[int, Row]], options: ReconcileOptions) -> dict[int, list]:
    """[(value, provider, disagreed, unresolved) of each field] by day, as the module's doc says."""

    def agree(a: float, b: float, field: str) -> bool:
        ratio = options.tolerance_ratio if field != "volume" else options.volume_tolerance_ratio
        return ratio is None or abs(a - b) <= ratio * abs(b)

    found: dict[int, list] = {}
    for day in sorted({day for rows in bars.values() for day in rows}):
        said = {name: rows[day] for name, rows in bars.items() if day in rows}
        row = []
        for place, field in enumerate(BAR_FLOAT_COLUMNS):
            order = dict.fromkeys((*options.by_field.get(field, ()), *options.priority))
            order = [name for name in order if name in said]
            value = {name: said[name][place] for name in order}
            good = [
                name for name in order
                if sum(agree(other, value[name], field) for other in value.values())
                >= options.quorum
            ]  # fmt: skip
            row.append([value[(good or order)[0]], (good or order)[0], None, not good])
        opens, high, low, close, _ = (each[0] for each in row)
        if high < max(opens, close) or low > min(opens, close):
            name = next(name for name in options.priority if name in said)
            for place in range(4):
                row[place][:2] = [said[name][place], name]
        for place, field in enumerate(BAR_FLOAT_COLUMNS):
            row[place][2] = not all(
                agree(each[place], row[place][0], field) for each in said.values()
            )
        found[day] = row
    return found


PRICE = st.sampled_from([10.0, 10.004, 10.2, 11.0])
ROW = st.builds(
    lambda a, b, c, d, v: (a, max(a, b, c, d), min(a, b, c, d), d, v),
    PRICE, PRICE, PRICE, PRICE, st.sampled_from([0.0, 5.0, 9.0]),
)  # fmt: skip
ROWS = st.dictionaries(st.integers(0, 4), ROW, min_size=1, max_size=5)


@given(
    st.lists(ROWS, min_size=3, max_size=3),
    st.integers(1, 3),
    st.sampled_from([None, 0.5]),
    st.permutations("abc"),
)
@settings(max_examples=60, deadline=None)
def test_every_value_is_that_of_the_twin(
    rows: list[dict[int, Row]], quorum: int, volume: float | None, order: list[str]
) -> None:
    bars = dict(zip("abc", rows, strict=True))
    options = ReconcileOptions(
        priority=("a", "b", "c"), by_field={"close": tuple(order), "volume": ("c",)},
        tolerance_ratio=1e-3, volume_tolerance_ratio=volume, quorum=quorum,
    )  # fmt: skip
    result = reconcile([provider(name, each) for name, each in bars.items()], options)
    wanted = twin(bars, options)
    assert (result.columns["ts_open"] // NS_PER_DAY).tolist() == list(wanted)
    for place, field in enumerate(BAR_FLOAT_COLUMNS):
        got = zip(
            result.columns[field].tolist(),
            [result.names[each] for each in result.chosen[field]],
            result.disagrees[field].tolist(),
            result.unresolved[field].tolist(),
            strict=True,
        )
        assert [list(each) for each in got] == [row[place] for row in wanted.values()]
    check_columns(result.columns, "resolved")
    doubt = [any(each[2] or each[3] for each in row) for row in wanted.values()]
    assert (result.columns["quality"] != 0).tolist() == doubt


def test_the_second_stands_in_where_the_first_has_no_bar() -> None:
    result = resolve({"a": {1: bar(10), 3: bar(30)}, "b": {1: bar(10), 2: bar(20)}})
    assert closes(result) == [10, 20, 30]
    assert [result.names[each] for each in result.chosen["close"]] == ["a", "b", "a"]
    assert result.columns["quality"].tolist() == [0, 0, 0]


def test_a_gap_is_flagged_where_nobody_has_a_bar_in_it() -> None:
    gappy, filler = provider("a", {1: bar(10), 6: bar(60)}), provider("b", {3: bar(30), 6: bar(60)})
    gappy.columns["quality"][1] = filler.columns["quality"][1] = Quality.GAP_BEFORE
    result = reconcile([gappy, filler], ReconcileOptions(priority=("a", "b")))
    assert closes(result) == [10, 30, 60]
    assert result.columns["quality"].tolist() == [0, 0, Quality.GAP_BEFORE]
    full = provider("b", {3: bar(30), 4: bar(40), 6: bar(60)})
    result = reconcile([gappy, full], ReconcileOptions(priority=("a", "b")))
    assert result.columns["quality"].tolist() == [0, 0, 0, 0]


def test_two_of_three_outvote_the_best_provider() -> None:
    bars = {"a": {1: bar(99)}, "b": {1: bar(10)}, "c": {1: bar(10.001)}}
    result = resolve(bars, quorum=2)
    assert closes(result) == [10]
    assert result.columns["quality"].tolist() == [Quality.SUSPECT]
    assert closes(resolve(bars)) == [99]


BROKEN_TIE = {"a": {1: bar(10), 2: bar(50), 3: bar(30)}, "b": {1: bar(10), 2: bar(20), 3: bar(30)}}


def test_a_value_without_a_quorum_is_flagged_dropped_or_refused() -> None:
    flagged = resolve(BROKEN_TIE, quorum=2)
    assert closes(flagged) == [10, 50, 30]
    assert flagged.columns["quality"].tolist() == [0, Quality.SUSPECT, 0]
    dropped = resolve(BROKEN_TIE, quorum=2, unresolved=Unresolved.DROP)
    assert closes(dropped) == [10, 30]
    assert dropped.columns["quality"].tolist() == [0, Quality.GAP_BEFORE]
    with pytest.raises(DataError, match=r"1 bars have no 2 providers.*first at 1970-01-03"):
        resolve(BROKEN_TIE, quorum=2, unresolved=Unresolved.REFUSE)


def test_a_bar_whose_parts_contradict_each_other_is_taken_whole() -> None:
    bars = {"a": {1: (10, 11, 9, 10, 5)}, "b": {1: (20, 21, 19, 20, 7)}}
    result = resolve(bars, by_field={"close": ("b",), "volume": ("b",)})
    assert [result.columns[name][0] for name in BAR_FLOAT_COLUMNS] == [10, 11, 9, 10, 7]
    assert result.taken_whole.tolist() == [True]


def test_a_resolved_bar_is_known_when_all_its_providers_are() -> None:
    early, late = provider("a", {1: bar(10), 2: bar(11)}), provider("b", {1: bar(10)}, 500)
    result = reconcile([early, late], ReconcileOptions(priority=("a", "b")))
    assert (result.columns["ts_known"] - result.columns["ts_close"]).tolist() == [500, 0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"priority": ("a",)}, "priority must name each provider once"),
        ({"priority": ("a", "z")}, "there is no provider 'z'"),
        ({"by_field": {"close": ("z",)}}, "there is no provider 'z'"),
        ({"by_field": {"clos": ("a",)}}, r"bars have no field 'clos'.*'close'"),
        ({"quorum": 3}, "quorum 3 can't be had from 2 providers"),
    ],
)
def test_an_impossible_order_is_refused(options: dict, said: str) -> None:
    both = [provider("a", {1: bar(10)}), provider("b", {1: bar(10)})]
    with pytest.raises(ConfigError, match=said):
        reconcile(both, ReconcileOptions(**{"priority": ("a", "b"), **options}))


def test_bars_that_close_at_different_times_are_refused() -> None:
    other = provider("b", {1: bar(10)})
    other.columns["ts_close"] -= 1
    with pytest.raises(DataError, match=r"bar of 1970-01-02T00:00:00Z closes at different times"):
        reconcile([provider("a", {1: bar(10)}), other], ReconcileOptions(priority=("a", "b")))


def test_provenance_is_kept_for_each_version(tmp_path: Path) -> None:
    first, second = resolve(BROKEN_TIE), resolve(BROKEN_TIE, by_field={"close": ("b",)})
    write_provenance(tmp_path, "A.X", "1d", 4, make_provenance(first))
    write_provenance(tmp_path, "A.X", "1d", 7, make_provenance(second))
    assert read_provenance(tmp_path, "A.X", "1d", 4)["close"].to_list() == ["a", "a", "a"]
    kept = read_provenance(tmp_path, "A.X", "1d", 7)
    assert kept["disagreed"].to_list() == ["", "open,high,low,close", ""]
    assert kept["close"].to_list() == ["b", "a", "b"]  # taken whole on the second day
    with pytest.raises(DataError, match=r"version 5 of A\.X 1d has no provenance by value"):
        read_provenance(tmp_path, "A.X", "1d", 5)


def test_the_page_shows_every_disagreement_and_runs_nothing() -> None:
    report = build_report("<b>A</b>", resolve(BROKEN_TIE))
    page = render_html(report)
    assert page.count("<tr>") == 1 + 2 + 1 + 4
    assert "<b>A</b>" not in page
    assert "<script" not in page
    assert "http" not in page
    assert len(report.tables(rows=1)[1].rows) == 1
    assert report.tables(rows=1)[1].title == "Disagreements, 3 more not shown"


# Footing


def closes_of(values: list[float]) -> BarColumns:
    return make_columns({day: bar(value) for day, value in enumerate(values)})


def wave(days: int) -> list[float]:
    return [100 + 20 * math.sin(day / 9) for day in range(days)]


def test_a_split_shows_as_two_steps() -> None:
    raw = wave(60)
    adjusted = [value / 7 if day < 25 else value for day, value in enumerate(raw)]
    steps = find_footing(closes_of(raw), closes_of(adjusted), 5e-4)
    assert [(step.ts_from // NS_PER_DAY, round(step.factor, 6)) for step in steps] == [
        (0, round(1 / 7, 6)),
        (25, 1.0),
    ]


@pytest.mark.parametrize(
    "other",
    [
        wave(60),
        [value * (1 + 0.002 * (-1) ** day) for day, value in enumerate(wave(60))],
        [value * (1.5 if day == 30 else 1) for day, value in enumerate(wave(60))],
        [value * 1.0001 for value in wave(60)],
    ],
    ids=["equal", "noise", "one wrong bar", "rounding"],
)
def test_noise_and_wrong_bars_are_no_adjustment(other: list[float]) -> None:
    assert find_footing(closes_of(wave(60)), closes_of(other), 1e-6) == []


# Two real providers of AAPL in 2014: Lean's daily bars and Quandl WIKI.


def read_lean() -> BarColumns:
    text = gzip.decompress((SHARED / "equity_us/daily_raw/aapl.csv.gz").read_bytes()).decode()
    return _read(csv.DictReader(text.splitlines()), "date", "")


def read_wiki(prefix: str) -> BarColumns:
    text = (SHARED / "equity_us" / "wiki_aapl_2014.csv").read_text(encoding="utf-8")
    return _read(csv.DictReader(text.splitlines()), "date", prefix)


def _read(rows: csv.DictReader, date: str, prefix: str) -> BarColumns:
    return make_columns(
        {
            from_iso(row[date]) // NS_PER_DAY: tuple(
                float(row[prefix + name]) for name in BAR_FLOAT_COLUMNS
            )
            for row in rows
            if row[date].startswith("2014-")
        }
    )


@needs_shared
def test_two_real_providers_agree_on_most_and_differ_where_they_do() -> None:
    """Lean and WIKI, both raw: 252 sessions; 2014-01-28 closed at 506.95 and 506.50."""
    lean, wiki = read_lean(), read_wiki("")
    assert find_footing(lean, wiki, 5e-4) == []
    result = reconcile(
        [ProviderBars("lean", lean, "none"), ProviderBars("wiki", wiki, "none")],
        ReconcileOptions(priority=("lean", "wiki"), by_field={"volume": ("wiki",)}),
    )
    assert len(result.columns["ts_open"]) == 252
    differs = np.abs(lean["close"] - wiki["close"]) > 5e-4 * lean["close"]
    assert np.array_equal(result.disagrees["close"], differs)
    assert 0 < differs.sum() < 30
    said = {
        (each.time[:10], each.field): each.said for each in build_report("", result).disagreements
    }
    assert said["2014-01-28", "close"] == {"lean": 506.95, "wiki": 506.5}
    assert np.array_equal(result.columns["volume"], wiki["volume"])
    assert all(np.array_equal(result.columns[name], lean[name]) for name in PRICES)


@needs_shared
def test_a_real_adjusted_series_is_found_out_with_its_split_and_dividends() -> None:
    """AAPL went 7:1 on 2014-06-09; ex-dividend dates 02-06, 05-08, 08-07, 11-06 (WIKI's columns).

    Against the other provider the same steps are found, one of them two bars late: noise.
    """
    steps = find_footing(read_wiki(""), read_wiki("adj_"), 5e-4)
    assert [str(step).split()[3] for step in steps] == [
        "2014-01-02", "2014-02-06", "2014-05-08", "2014-06-09", "2014-08-07", "2014-11-06",
    ]  # fmt: skip
    assert steps[3].factor / steps[2].factor == pytest.approx(7, rel=1e-6)
    assert len(find_footing(read_lean(), read_wiki("adj_"), 5e-4)) == len(steps)
