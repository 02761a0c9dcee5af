"""The file of trading halts: what is read, where it stands in time, what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetape.domain.errors import DataError
from onetape.domain.market import ContractStep, TradingStatus
from onetape.domain.timestamps import to_iso
from onetape.marketdata.contract_steps import order_steps
from onetape.marketdata.halts import pin_halts, place_halts, read_halts
from onetape.research.perturbation import Change, Perturbation, Perturber, cut_before
from tests.support.halts import make_halt, make_status, with_halts
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MSFT,
    SECOND,
    closes,
    flat,
    make_columns,
    make_timeline,
    opens,
)

SERIES = [(EQUITY, make_columns(flat(100, 100, 100)))]
HEAD = "instrument,ts,status,reason\n"
KNOWN = [AAPL, MSFT]


def read(tmp_path: Path, text: str, ts_end: int = closes(9)) -> list[ContractStep]:
    path = tmp_path / "halts.csv"
    path.write_text(text)
    return [*order_steps(place_halts(read_halts(path, KNOWN), SERIES, ts_end), SERIES)]


def row(ts: int, status: str = "halted", reason: str = "", name: str = AAPL) -> str:
    return f"{name},{to_iso(ts)},{status},{reason}\n"


def test_rows_are_told_behind_the_bar_that_contains_them(tmp_path: Path) -> None:
    inside = opens(1) + 30 * SECOND
    text = HEAD + row(closes(1), "resumed") + row(inside, reason="LUDP") + row(inside, name=MSFT)
    steps = read(tmp_path, text)
    assert [(each.ts_event, each.ts_known) for each in steps] == [
        (inside, closes(1) + 1), (closes(1), closes(1) + 1)
    ]  # fmt: skip
    assert [each.is_halted for each in steps if isinstance(each, TradingStatus)] == [True, False]
    (pin,) = pin_halts(steps)
    assert (pin.timeframe, pin.rows, pin.ts_first) == ("halts", 2, inside)
    other = read(tmp_path, text.replace("LUDP", "T1"))
    assert pin_halts(other)[0].content_hash != pin.content_hash


def test_of_what_was_before_the_first_bar_only_a_halt_that_lasts_counts(tmp_path: Path) -> None:
    before = [opens(0) - each * SECOND for each in (30, 20, 10)]
    over = row(before[0]) + row(before[1], "resumed")
    assert read(tmp_path, HEAD + over) == []
    (step,) = read(tmp_path, HEAD + over + row(before[2], reason="T1"))
    assert (step.ts_event, step.ts_known) == (before[2], before[2])
    assert read(tmp_path, HEAD + row(closes(1)), ts_end=closes(1)) == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("instrument,ts\n", "halts.csv:1: column 'status' is missing"),
        ("instrument,ts,status,why\n", "halts.csv:1: column 'why' is unknown"),
        (HEAD + "BTC.X,0,halted,\n", "halts.csv:2: instrument 'BTC.X' is unknown"),
        (HEAD + row(closes(1), "halt"), "halts.csv:2: status 'halt' is unknown"),
        (HEAD + f"{AAPL},noon,halted,\n", "halts.csv:2: ts 'noon'"),
        (HEAD + row(closes(1)) * 2, "halts.csv:3: another status of that time stands at"),
        (HEAD + row(closes(1), "resumed"), "halts.csv:2: AAPL.XNAS trades again and was not"),
        (HEAD + f"{AAPL},1\n", "halts.csv:2: has not as many fields"),
    ],
)
def test_a_wrong_row_is_told_with_its_line(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert what in str(caught.value)


# What other rows leave of halts: a check for lookahead must not see the venue know less before the
# cut than it did.


def test_changed_rows_leave_what_had_happened_before_them() -> None:
    halt = make_halt(opens(1) + SECOND, closes(3))
    timeline = with_halts(make_timeline(flat(*[100] * 6), flat(*[50] * 6)), halt)
    moved = Perturber(timeline).apply(Perturbation(Change.DELETED), 3)  # the second row of bar 1
    assert [each.ts_event for each in moved.steps] == [opens(1) + SECOND]
    earlier = Perturber(timeline).apply(Perturbation(Change.DELETED), 1)
    assert earlier.steps == ()


def test_a_shorter_history_keeps_the_halts_from_before_it() -> None:
    timeline = with_halts(make_timeline(flat(*[100] * 6)), [make_status(closes(1))])
    later = cut_before(timeline, 4)
    assert (later.steps, later.step_rows) == (timeline.steps, [0])
