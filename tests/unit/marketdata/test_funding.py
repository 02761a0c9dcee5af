"""The file of funding rates: what is read, where it stands in time, what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.market import FundingRate, MarkPrice
from onetape.domain.timestamps import to_iso
from onetape.marketdata.contract_steps import order_steps
from onetape.marketdata.funding import pin_funding, place_funding, read_funding
from onetape.runtime.config_margin import FixedMargin, LadderMargin, PortfolioMargin, RegTMargin
from onetape.runtime.config_margin import build_agreement as build
from tests.support.contracts import LINEAR
from tests.support.timelines import EQUITY, SECOND, closes, flat, make_columns, opens

SERIES = [(LINEAR, make_columns(flat(50_000, 50_000, 50_000)))]
HEAD = "instrument,ts,rate,mark\n"
KNOWN = [LINEAR.id, EQUITY.id]


def read(tmp_path: Path, text: str) -> list[FundingRate | MarkPrice]:
    path = tmp_path / "funding.csv"
    path.write_text(text)
    placed = place_funding(read_funding(path, KNOWN), SERIES, closes(9))
    return [*order_steps(placed, SERIES)]  # type: ignore[list-item]


def row(ts: int, rate: str = "0.0001", mark: str = "") -> str:
    return f"{LINEAR.id},{to_iso(ts)},{rate},{mark}\n"


def test_rows_stand_behind_the_bar_that_contains_them(tmp_path: Path) -> None:
    inside = opens(1) + 30 * SECOND
    text = HEAD + row(closes(1), "-0.0002", "50100") + row(inside, mark="49000") + row(closes(0))
    steps = read(tmp_path, text + row(opens(0)) + row(closes(9)) + row(closes(5)))
    assert [(type(each), each.ts_event, each.ts_known) for each in steps] == [
        (FundingRate, closes(0), closes(0) + 1),
        (FundingRate, inside, closes(1) + 1),  # its mark is older than the close: not a mark
        (MarkPrice, closes(1), closes(1) + 1),
        (FundingRate, closes(1), closes(1) + 1),
    ]
    assert [each.mark for each in steps if isinstance(each, FundingRate)] == [0, 49_000, 50_100]
    (pin,) = pin_funding(steps)
    assert (pin.timeframe, pin.rows) == ("funding", 3)


def test_time_may_be_milliseconds(tmp_path: Path) -> None:
    (step,) = read(tmp_path, f"{HEAD}{LINEAR.id},{closes(1) // 1_000_000},0.0001,\n")
    assert step.ts_event == closes(1)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("instrument,ts\n", "funding.csv:1: column 'rate' is missing"),
        ("instrument,ts,rate,marks\n", "funding.csv:1: column 'marks' is unknown"),
        (HEAD + "BTC.X,0,0.1,\n", "funding.csv:2: instrument 'BTC.X' is unknown"),
        (HEAD + row(closes(1), "1"), "funding.csv:2: rate 1 is not between -0.09 and 0.09"),
        (HEAD + row(closes(1), "nan"), "funding.csv:2: rate 'nan' is not finite"),
        (HEAD + row(closes(1), "0.00000000001"), "funding.csv:2: rate 1E-11 is off the grid"),
        (HEAD + row(closes(1), mark="0"), "funding.csv:2: mark 0 is not positive"),
        (HEAD + row(closes(1)) * 2, "funding.csv:3: the same funding stands at"),
        (HEAD + f"{LINEAR.id},today,0.1,\n", "funding.csv:2: ts 'today'"),
        (HEAD + f"{LINEAR.id},1\n", "funding.csv:2: has not as many fields"),
    ],
)
def test_a_wrong_row_is_told_with_its_line(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert what in str(caught.value)


def test_funding_of_a_share_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "funding.csv"
    path.write_text(f"{HEAD}{EQUITY.id},{to_iso(closes(1))},0.0001,\n")
    series = [(EQUITY, make_columns(flat(100, 100, 100)))]
    with pytest.raises(DataError, match="is of kind equity, which has no funding"):
        place_funding(read_funding(path, KNOWN), series, closes(9))


def test_an_agreement_that_does_not_fit_the_instruments_is_refused() -> None:
    fixed = FixedMargin(model="fixed", initial_pct=10, maintenance_pct=5, mode="isolated")
    with pytest.raises(ConfigError, match=r"is isolated, and AAPL.XNAS is of kind equity"):
        build(fixed, [LINEAR, EQUITY])
    with pytest.raises(ConfigError, match="reg_t is for shares and options"):
        build(RegTMargin(model="reg_t"), [LINEAR])
    with pytest.raises(ValueError, match="margined as a whole"):
        PortfolioMargin(model="portfolio", initial_pct=10, maintenance_pct=5, mode="isolated")
    tiers = [{"from": 0, "initial_pct": 1, "maintenance_pct": "0.4"},
             {"from": 50_000, "initial_pct": 2, "maintenance_pct": "0.5"}]  # fmt: skip
    ladder = LadderMargin.model_validate({"model": "ladder", "tiers": tiers})
    agreement = build(ladder, [LINEAR])
    assert agreement is not None
    assert agreement.schedules[LINEAR.id].maintenance(100_000 * 10**8, 1) == 450 * 10**8
    short = build(RegTMargin(model="reg_t"), [EQUITY])
    assert short is not None
    assert short.schedules[EQUITY.id].maintenance(10**8, -1) == 30_000_000
