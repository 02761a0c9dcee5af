from __future__ import annotations

import pytest

from onetape.domain.errors import DataError
from onetape.marketdata.column_roles import resolve_roles

OHLCV = ["open", "high", "low", "close", "volume"]


@pytest.mark.parametrize(
    "names",
    [
        ["date", *OHLCV],
        ["Date", "Open", "High", "Low", "Close", "Volume"],
        ["TIMESTAMP", "O", "H", "L", "C", "V"],
        ["Open Time", "open", "high", "low", "close", "vol"],
        ["Symbol", "datetime", "close", "low", "high", "open", "Volume", "Trades"],
    ],
)
def test_resolve_roles_common_headers_are_recognised(names: list[str]) -> None:
    roles = resolve_roles(names, {}, None, "f")

    assert list(roles.column) == ["ts", *OHLCV]
    assert set(roles.column.values()) <= set(names)


def test_resolve_roles_map_wins_over_the_usual_names() -> None:
    names = ["Date", "when", "Open", "High", "Low", "Close", "Last", "Volume"]

    roles = resolve_roles(names, {"when": "ts", "last": "close"}, None, "f")

    assert (roles.column["ts"], roles.column["close"]) == ("when", "Last")


def test_resolve_roles_without_volume_leaves_it_out() -> None:
    assert "volume" not in resolve_roles(["date", *OHLCV[:4]], {}, None, "f").column


def test_resolve_roles_adjusted_close_is_never_the_close() -> None:
    names = ["Date", "Open", "High", "Low", "Adj. Close", "Close", "Volume"]

    unused = resolve_roles(names, {}, None, "f")
    dropped = resolve_roles(names, {"Adj. Close": "-"}, None, "f")
    used = resolve_roles(names, {}, "adj. close", "f")

    assert unused.column["close"] == dropped.column["close"] == used.column["close"] == "Close"
    assert (unused.adjustable_by, unused.adjusted_close) == ("Adj. Close", "")
    assert (dropped.adjustable_by, dropped.adjusted_close) == ("", "")
    assert (used.adjustable_by, used.adjusted_close) == ("", "Adj. Close")


@pytest.mark.parametrize(
    ("names", "column_map", "adjust_by", "message"),
    [
        (["date", *OHLCV], {"dat": "ts"}, None, r"no column 'dat' .*did you mean 'date'"),
        (["date", *OHLCV], {"date": "tss"}, None, r"'date' is mapped to 'tss' .*did you mean 'ts'"),
        (["date", *OHLCV], {}, "Adj Close", r"no column 'Adj Close'"),
        (["date", "time", *OHLCV], {}, None, r"all look like 'ts' .*--map \"time=-\""),
        (["date", *OHLCV, "x"], {"x": "open", "close": "open"}, None, "all look like 'open'"),
        (["d", "o", "h", "l"], {"d": "ts"}, None, r"for 'close' .* 'l' .*--map \"l=close\""),
        (["2024-01-01", "1", "2"], {}, None, "no column for 'ts'"),
        (["bar_date", *OHLCV, "x"], {}, None, r"no column for 'ts' .*\"bar_date=ts\""),
        (["start_et", *OHLCV], {}, None, r"no column for 'ts' .*\"start_et=ts\""),
        (["", *OHLCV], {}, None, r"no column for 'ts' .*--map \"=ts\""),
    ],
)
def test_resolve_roles_wrong_columns_are_refused_with_the_remedy(
    names: list[str], column_map: dict[str, str], adjust_by: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        resolve_roles(names, column_map, adjust_by, "f")
