"""A file of corporate actions: what is read, where it is put in time, and what is refused."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy.typing as npt
import pytest

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.market import CorporateActionKind
from onetape.domain.timestamps import NS_PER_DAY, from_iso, to_iso
from onetape.marketdata.corporate_actions import ActionRow, pin_actions, place_rows, read_actions
from tests.support.timelines import flat, make_columns

AAPL = make_equity("AAPL.XNAS")
KNOWN = ("AAPL.XNAS", "MSFT.XNAS")
HEADER = "instrument,kind,ex_date,ts,value,divisor"


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    file = path / "actions.csv"
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


def test_rows_are_read_in_order(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "AAPL.XNAS,split,2014-06-09,,1,0.1428572",
        "MSFT.XNAS,cash_dividend,,2014-06-10T09:30:00-04:00,0.28,",
        "AAPL.XNAS,delisting,2014-07-01,,0,",
    )
    rows = read_actions(file, KNOWN)
    assert [(each.instrument, each.kind.value, each.value, each.divisor) for each in rows] == [
        ("AAPL.XNAS", "split", 1.0, 0.1428572),
        ("MSFT.XNAS", "cash_dividend", 0.28, 1.0),
        ("AAPL.XNAS", "delisting", 0.0, 1.0),
    ]
    assert rows[0].day == (datetime(2014, 6, 9, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
    assert rows[1].ts == from_iso("2014-06-10T13:30:00Z")
    assert rows[2].where == f"{file}:4"


def test_what_only_some_kinds_have(tmp_path: Path) -> None:
    header = "instrument,kind,ex_date,value,pay_date,new_instrument,cash,price,cost_ratio"
    file = write(
        tmp_path,
        "AAPL.XNAS,cash_dividend,2014-06-09,0.47,2014-06-12,,,,",
        "AAPL.XNAS,merger,2014-06-09,1.437,,MSFT.XNAS,53.75,32.5,0.25",
        "AAPL.XNAS,merger,2014-06-09,,,,196,,",
        "AAPL.XNAS,symbol_change,2014-06-09,,,MSFT.XNAS,,,",
        header=header,
    )
    dividend, mixed, cash, name = read_actions(file, KNOWN)
    assert (dividend.pay_day, mixed.pay_day) == (16233, None)
    assert (mixed.new_instrument, mixed.value, mixed.cash) == ("MSFT.XNAS", 1.437, 53.75)
    assert (mixed.price, mixed.cost_ratio) == (32.5, 0.25)
    assert (cash.value, cash.cash, cash.new_instrument, cash.price) == (0.0, 196.0, "", None)
    assert (name.value, name.new_instrument) == (0.0, "MSFT.XNAS")


GOOD = "AAPL.XNAS,split,2014-06-09,,7,"
NEWS = "instrument,kind,ex_date,value,pay_date,new_instrument,cash,price"

# fmt: off
BAD = [
    (HEADER, "APPL.XNAS,split,2014-06-09,,7,",         ":2: .* unknown .did you mean 'AAPL.XNAS'"),
    (HEADER, "AAPL.XNAS,splt,2014-06-09,,7,",          ":2: kind 'splt' is .*you mean 'split'"),
    (HEADER, "AAPL.XNAS,split,,,7,",                   ":2: neither of ex_date and ts"),
    (HEADER, "AAPL.XNAS,split,2014-06-09,2014-06-09,7,", ":2: both of ex_date and ts"),
    (HEADER, "AAPL.XNAS,split,2014-13-09,,7,",         ":2: ex_date '2014-13-09' is not an ISO"),
    (HEADER, "AAPL.XNAS,split,,yesterday,7,",          ":2: ts 'yesterday' is not an ISO 8601"),
    (HEADER, "AAPL.XNAS,split,2014-06-09,,seven,",     ":2: value 'seven' is not a number"),
    (HEADER, "AAPL.XNAS,split,2014-06-09,,inf,",       ":2: value 'inf' is not finite"),
    (HEADER, "AAPL.XNAS,split,2014-06-09,,,",          ":2: value '' is not a number"),
    (HEADER, "AAPL.XNAS,split,2014-06-09,,7,x",        ":2: divisor 'x' is not a number"),
    (HEADER, "AAPL.XNAS,split,2014-06-09",             ":2: has not as many fields as the header"),
    (HEADER, GOOD + ",,",                              ":2: has not as many fields as the header"),
    (HEADER, GOOD + "\n" + GOOD,                       ":3: the same action stands at .*:2"),
    (NEWS, "AAPL.XNAS,merger,2014-06-09,1,,MSTF.XNAS,,", ":2: new_instrument 'MSTF.XNAS' is unk"),
    (NEWS, "AAPL.XNAS,merger,2014-06-09,1,,,x,",       ":2: cash 'x' is not a number"),
    (NEWS, "AAPL.XNAS,merger,2014-06-09,1,,,,y",       ":2: price 'y' is not a number"),
    (NEWS, "AAPL.XNAS,cash_dividend,2014-06-09,1,soon,,,", ":2: pay_date 'soon' is not an ISO"),
    (NEWS, "AAPL.XNAS,dividend_payment,2014-06-09,1,,,,", ":2: kind 'dividend_payment' is unkn"),
    ("instrument,kind,ex_dat,value", "",               ":1: column 'ex_dat' is .*mean 'ex_date'"),
    ("instrument,kind,value", "",                      ":1: a column 'ex_date' or 'ts' is missing"),
    ("instrument,ex_date,value", "",                   ":1: column 'kind' is missing"),
    ("instrument,kind,ex_date,value,value", "",        ":1: column 'value' comes twice"),
    ("", "",                                           ":1: column"),
]
# fmt: on


@pytest.mark.parametrize(("header", "line", "what"), BAD)
def test_what_is_wrong_in_a_file(tmp_path: Path, header: str, line: str, what: str) -> None:
    with pytest.raises(DataError, match=f"actions.csv{what}"):
        read_actions(write(tmp_path, line, header=header), KNOWN)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file of corporate actions"):
        read_actions(tmp_path / "actions.csv", KNOWN)
    with pytest.raises(DataError, match="can't be read"):
        read_actions(tmp_path, KNOWN)


SESSIONS = [from_iso(f"2014-06-{day:02}T13:30:00Z") for day in (5, 6, 9, 10)]


def nyse_days() -> dict[str, npt.NDArray[Any]]:
    columns = make_columns(flat(1, 2, 3, 4))
    columns["ts_open"][:] = SESSIONS
    columns["ts_close"][:] = columns["ts_open"] + 6 * NS_PER_DAY // 24
    columns["ts_known"][:] = columns["session_close"][:] = columns["ts_close"]
    return columns


def row(text: str, value: float = 2.0, kind: str = "split") -> ActionRow:
    """A row with a date, or a time if it holds a T."""
    is_time = "T" in text
    return ActionRow(
        where="actions.csv:7", instrument=AAPL.id, kind=CorporateActionKind(kind),
        day=None if is_time else from_iso(text) // NS_PER_DAY,
        ts=from_iso(text) if is_time else None, value=value, divisor=1.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2014-06-09", "2014-06-09T13:30:00Z"),
        ("2014-06-07", "2014-06-09T13:30:00Z"),  # a Saturday: nothing trades before Monday's open
        ("2014-06-05", "2014-06-05T13:30:00Z"),
        ("2014-06-04", None),  # before the first bar
        ("2014-06-11", "2014-06-11T04:00:00Z"),  # after the last: midnight of New York
        ("2014-06-21", None),  # not before the end
        ("2014-06-06T13:30:00Z", "2014-06-06T13:30:00Z"),
        ("2014-06-06T20:00:00Z", "2014-06-06T20:00:00Z"),
        ("2014-06-05T13:29:00Z", None),
    ],
)
def test_where_a_row_is_put(text: str, at: str | None) -> None:
    ts_end = from_iso("2014-06-20")
    placed = place_rows([row(text)], [(AAPL, nyse_days())], ts_end)
    assert [to_iso(each.ts_event) for each in placed] == ([at] if at else [])


@pytest.mark.parametrize(
    ("pay", "at"),
    [
        ("2014-06-09", "2014-06-09T13:30:00Z"),
        ("2014-06-07", "2014-06-09T13:30:00Z"),  # a Saturday
        ("2014-06-12", "2014-06-12T04:00:00Z"),  # after the last bar: midnight of New York
        ("2014-06-21", None),  # not before the end
    ],
)
def test_where_a_payment_is_put(pay: str, at: str | None) -> None:
    one = msgspec.structs.replace(
        row("2014-06-06", 0.47, "cash_dividend"), pay_day=from_iso(pay) // NS_PER_DAY
    )
    dividend, *payments = place_rows([one], [(AAPL, nyse_days())], from_iso("2014-06-20"))
    assert dividend.ts_pay > dividend.ts_event
    assert [to_iso(each.ts_event) for each in payments] == ([at] if at else [])
    assert {each.kind.value for each in payments} <= {"dividend_payment"}
    assert all(each.ts_pay == each.ts_event == dividend.ts_pay for each in payments)


def test_a_payment_is_not_before_its_dividend() -> None:
    one = msgspec.structs.replace(
        row("2014-06-09", 0.47, "cash_dividend"), pay_day=from_iso("2014-06-06") // NS_PER_DAY
    )
    with pytest.raises(DataError, match=r"actions.csv:7: .* is paid before, at 2014-06-06T13:30"):
        place_rows([one], [(AAPL, nyse_days())], from_iso("2014-06-20"))


def test_pins_tell_new_fields_and_keep_those_of_old_files() -> None:
    """The hash of an action without new fields is that of onetape 0.1: old tapes verify."""
    series = [(AAPL, nyse_days())]
    end = from_iso("2014-06-20")
    plain = row("2014-06-09", 0.47, "cash_dividend")
    later = msgspec.structs.replace(plain, pay_day=from_iso("2014-06-12") // NS_PER_DAY)
    (pin,) = pin_actions(place_rows([plain], series, end))
    (other,) = pin_actions(place_rows([later], series, end))
    text = f"{from_iso('2014-06-09T13:30:00Z')} cash_dividend 0.47 1.0\n"
    assert pin.content_hash == hashlib.sha256(text.encode()).hexdigest()
    assert other.content_hash != pin.content_hash
    assert (pin.rows, other.rows) == (1, 2)


def test_local_date_of_an_early_market() -> None:
    """Sydney opens at 10:00 on the 6th, which is the 5th in UTC."""
    stock = make_equity("BHP.XASX", calendar="hours:Australia/Sydney:10:00-16:00")
    columns = make_columns(flat(1, 2), start=from_iso("2014-06-05T00:00:00Z"), step=NS_PER_DAY)
    changed = msgspec.structs.replace(row("2014-06-06"), instrument=stock.id)
    (placed,) = place_rows([changed], [(stock, columns)], from_iso("2015-01-01"))
    assert placed.ts_event == from_iso("2014-06-06T00:00:00Z")


@pytest.mark.parametrize(
    ("one", "what"),
    [
        (row("2014-06-06T15:00:00Z"), "actions.csv:7: the split of AAPL.XNAS at "
         "2014-06-06T15:00:00Z falls into the bar from 2014-06-06T13:30:00Z to"),
        (row("2014-06-09", 0.0), "actions.csv:7: value 0.0 of a split is not positive"),
        (row("2014-06-09", 1.0, "symbol_change"), "actions.csv:7: a symbol_change needs a new"),
    ],
)  # fmt: skip
def test_rows_that_are_no_actions(one: ActionRow, what: str) -> None:
    with pytest.raises(DataError, match=what):
        place_rows([one], [(AAPL, nyse_days())], from_iso("2015-01-01"))


def test_rows_of_other_instruments_are_passed_over() -> None:
    other = make_equity("MSFT.XNAS")
    assert place_rows([row("2014-06-09")], [(other, nyse_days())], from_iso("2015-01-01")) == []


def test_the_pin_tells_everything_that_decides() -> None:
    rows = (row("2014-06-09"), row("2014-06-10"), row("2014-06-09", 3.0),
            row("2014-06-09", 2.0, "cash_dividend"))  # fmt: skip
    placed = [place_rows([each], [(AAPL, nyse_days())], 2**62) for each in rows]
    assert len({pin_actions(each)[0].content_hash for each in placed}) == 4
    (pin,) = pin_actions(place_rows([row("2014-06-09")], [(AAPL, nyse_days())], 2**62))
    assert (pin.instrument, pin.timeframe, pin.rows) == (InstrumentId("AAPL.XNAS"), "actions", 1)
    assert pin_actions([]) == ()
