"""Announced actions: which are read, when they take effect, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, make_equity
from onetape.domain.market import CorporateActionKind
from onetape.domain.timestamps import from_iso
from onetape.marketdata.announced_actions import Announcements
from onetape.marketdata.corporate_actions import place_rows, read_actions
from tests.support.timelines import flat, make_columns

XNYS = make_equity("AAPL.XNAS", calendar="XNYS")
HOURS = make_equity("MSFT.XNAS", calendar="hours:America/New_York:09:30-16:00")
NEW = make_equity("NEW.XNAS", calendar="XNYS")
SINCE = from_iso("2024-03-01T00:00:00Z")
HEAD = "instrument,kind,ex_date,ts,value,divisor,pay_date,new_instrument,price\n"


def announce(
    folder: Path, *rows: str, traded: tuple[Instrument, ...] = (XNYS, HOURS, NEW),
    is_simulated: bool = True,
) -> Announcements:  # fmt: skip
    (folder / "actions.csv").write_text(HEAD + "".join(f"{each}\n" for each in rows))
    instruments = (XNYS, HOURS, NEW)
    return Announcements(
        folder / "actions.csv", folder / "catalog", instruments,
        {"s": [each.id for each in traded]}, is_simulated=is_simulated,
    )  # fmt: skip


def test_action_is_due_at_the_open_of_its_session_and_at_a_venue_when_the_day_begins(
    tmp_path: Path,
) -> None:
    rows = ("MSFT.XNAS,split,2024-03-12,,7,2,,,", "AAPL.XNAS,split,2024-03-11,,2,,,,",
            "AAPL.XNAS,split,2024-02-12,,2,,,,", "OTHER.XNAS,split,2024-03-12,,7,2,,,")  # fmt: skip
    with pytest.raises(DataError, match="OTHER"):
        announce(tmp_path, *rows).read(SINCE)
    simulated = announce(tmp_path, *rows[:3]).read(SINCE)
    at_venue = announce(tmp_path, *rows[:3], is_simulated=False).read(SINCE)
    for found, times in (
        (simulated, ["2024-03-11T13:30:00Z", "2024-03-12T13:30:00Z"]),
        (at_venue, ["2024-03-11T04:00:00Z", "2024-03-12T04:00:00Z"]),
    ):
        assert [each.action.ts_event for each in found] == [from_iso(each) for each in times]
        assert [each.action.instrument for each in found] == [XNYS.id, HOURS.id]
        assert [each.ts_day for each in found] == [
            from_iso("2024-03-11T04:00:00Z"), from_iso("2024-03-12T04:00:00Z")
        ]  # fmt: skip


def test_day_without_a_session_means_the_next_one_as_in_a_backtest(tmp_path: Path) -> None:
    """Good Friday: the open of the Monday, which is that of its first bar too."""
    announced = announce(tmp_path, "AAPL.XNAS,cash_dividend,2024-03-29,,0.5,,2024-04-06,,")
    (found,) = announced.read(SINCE)
    monday, next_monday = from_iso("2024-04-01T13:30:00Z"), from_iso("2024-04-08T13:30:00Z")
    assert (found.action.ts_event, found.action.ts_pay) == (monday, next_monday)
    assert found.ts_day == from_iso("2024-03-29T04:00:00Z")
    columns = make_columns(flat(1, 1, 1))
    opens = [from_iso("2024-03-28T13:30:00Z"), monday, next_monday]
    for name, later in (("ts_open", 0), ("ts_close", 60), ("ts_known", 60)):
        columns[name][:] = [each + later * 1_000_000_000 for each in opens]
    rows = read_actions(tmp_path / "actions.csv", [XNYS.id])
    placed = place_rows(rows, [(XNYS, columns)], next_monday + 1)
    assert placed[0] == found.action
    assert placed[1].kind is CorporateActionKind.DIVIDEND_PAYMENT


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("AAPL.XNAS,spin_off,2024-03-12,,1,3,,NEW.XNAS,4", "not carried at a real venue"),
        ("AAPL.XNAS,symbol_change,2024-03-12,,,,,NEW.XNAS,", "not carried at a real venue"),
    ],
)
def test_what_turns_into_another_instrument_is_refused_at_a_real_venue(
    tmp_path: Path, row: str, what: str
) -> None:
    assert len(announce(tmp_path, row).read(SINCE)) == 1
    with pytest.raises(DataError, match=what) as caught:
        announce(tmp_path, row, is_simulated=False).read(SINCE)
    assert caught.value.where.endswith("actions.csv:2")


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("AAPL.XNAS,spin_off,2024-03-12,,1,3,,NEW.XNAS,", "does not say what NEW.XNAS is worth"),
        ("AAPL.XNAS,cash_dividend,2024-03-12,,1,,2024-03-11,,", "paid before"),
        ("AAPL.XNAS,split,2024-03-12,,-1,,,,", "not positive"),
        ("AAPL.XNAS,split,2024-03-12,,2,,,NEW.XNAS,", "has no new_instrument"),
    ],
)
def test_row_that_is_wrong_is_told_with_its_place(tmp_path: Path, row: str, what: str) -> None:
    with pytest.raises(DataError, match=what) as caught:
        announce(tmp_path, row).read(SINCE)
    assert caught.value.where.endswith("actions.csv:2")


def test_strategy_has_to_trade_what_its_shares_turn_into(tmp_path: Path) -> None:
    row = "AAPL.XNAS,spin_off,2024-03-12,,1,3,,NEW.XNAS,4"
    with pytest.raises(DataError, match=r"strategy s trades AAPL.XNAS, which turns into NEW.XNAS"):
        announce(tmp_path, row, traded=(XNYS,)).read(SINCE)


def test_catalog_without_actions_is_refused(tmp_path: Path) -> None:
    announced = Announcements(
        Path("catalog"), tmp_path, [XNYS], {"s": [XNYS.id]}, is_simulated=True
    )
    with pytest.raises(DataError, match="no corporate actions of AAPL"):
        announced.read(SINCE)


def test_days_change_at_midnight_of_each_calendar(tmp_path: Path) -> None:
    announced = announce(tmp_path)
    before, after = (announced.days_at(from_iso(f"2024-03-11T{each}Z")) for each in
                     ("03:59:59", "04:00:00"))  # fmt: skip
    assert (len(before), after[0] - before[0]) == (1, 1)
