"""What corporate actions make of marks: from an action to the next row of its instruments. Ours.

A mark is the newest close in whole ticks. After a split or a dividend in shares it is that close by
the ratio; so is that of an option on the shares which is divided with them. After a spin-off the
old share is worth less by what the new ones are worth. A share that has not traded yet stands at
the stated price, or at the mark of what it replaces. So a position is worth the same before and
after, cash included, but for half a tick a lot; a merger and a delisting move it to what they pay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from onetape.domain.corporate_actions import compute_terms
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import ContractStep, CorporateAction, CorporateActionKind, MarkPrice
from onetape.domain.numbers import compute_ticks
from onetape.portfolio.corporate_actions import (
    compute_adjusted_ticks,
    compute_lot_value,
    compute_ticks_without,
)
from onetape.portfolio.option_adjustment import count_contracts, find_options


class ActionTimeline(Protocol):
    """What is read of a timeline."""

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Instruments, in the order of their positions."""
        ...

    @property
    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """Bar columns, each of shape (rows,)."""
        ...

    @property
    def actions(self) -> tuple[CorporateAction, ...]:
        """Corporate actions in the order in which a session meets them."""
        ...

    @property
    def action_rows(self) -> Sequence[int]:
        """How many rows come before each of them."""
        ...

    @property
    def steps(self) -> tuple[ContractStep, ...]:
        """What happens to contracts, in the order in which a session meets it."""
        ...

    @property
    def step_rows(self) -> Sequence[int]:
        """How many rows come before each of them."""
        ...

    def rows_of(self, instrument_id: str, /) -> npt.NDArray[np.int64]:
        """Rows of one instrument, ascending."""
        ...


class AdjustedMark(NamedTuple):
    """A mark that holds while `row` is the newest of its instrument; -1: before its first."""

    row: int
    ticks: int
    close: float


def adjust_marks(
    instruments: Sequence[Instrument],
    action: CorporateAction,
    mark_of: Callable[[int], AdjustedMark],
) -> dict[int, AdjustedMark]:
    """The marks that `action` changes, by position of the instrument.

    Args:
        instruments: All of them.
        action: What happens.
        mark_of: The mark of the instrument at a position; 0 ticks while it has none.
    """
    kind = action.kind
    index = _position(instruments, action.instrument)
    old = mark_of(index)
    if kind.scales:
        terms = compute_terms(action, instruments[index])
        if old.row < 0:
            return _adjust_options(instruments, action, count_contracts(terms), mark_of)
        ticks = compute_adjusted_ticks(old.ticks, terms.top, terms.bottom)
        split = {index: AdjustedMark(old.row, ticks, old.close * terms.bottom / terms.top)}
        return split | _adjust_options(instruments, action, count_contracts(terms), mark_of)
    if not action.new_instrument:
        return {}
    at = _position(instruments, action.new_instrument)
    terms = compute_terms(action, instruments[index], instruments[at])
    new = mark_of(at)
    changed: dict[int, AdjustedMark] = {}
    if new.row < 0 and not new.ticks:
        ticks = old.ticks if kind is CorporateActionKind.SYMBOL_CHANGE else terms.price_ticks
        if ticks:
            new = AdjustedMark(-1, ticks, ticks * instruments[at].tick_float)
            changed[at] = new
    if kind is CorporateActionKind.SPIN_OFF and old.ticks and new.ticks:
        factor = instruments[index].minor_per_tick_lot
        given = compute_lot_value(
            new.ticks * instruments[at].minor_per_tick_lot, terms.top, terms.bottom
        )
        ticks = compute_ticks_without(old.ticks, factor, given)
        close = old.close + (ticks - old.ticks) * instruments[index].tick_float
        changed[index] = AdjustedMark(old.row, ticks, close)
    return changed


def _adjust_options(
    instruments: Sequence[Instrument],
    action: CorporateAction,
    contracts: int,
    mark_of: Callable[[int], AdjustedMark],
) -> dict[int, AdjustedMark]:
    """Marks of options that are divided into several; the others keep theirs."""
    if contracts == 1:
        return {}
    found = {at: mark_of(at) for at, _ in find_options(instruments, action)}
    return {
        at: AdjustedMark(
            mark.row, compute_adjusted_ticks(mark.ticks, contracts, 1), mark.close / contracts
        )
        for at, mark in found.items()
        if mark.row >= 0
    }


def new_share_ticks(
    instruments: Sequence[Instrument],
    action: CorporateAction,
    mark_ticks: Callable[[int], int],
) -> int:
    """What a fraction of the new instrument of `action` is settled at: stated price, else mark.

    Before the marks are adjusted; 0 where it has neither.
    """
    index = _position(instruments, action.instrument)
    at = _position(instruments, action.new_instrument)
    stated = compute_terms(action, instruments[index], instruments[at]).price_ticks
    return stated or mark_ticks(at)


def fold_marks(timeline: ActionTimeline, actions: int, steps: int = 0) -> dict[int, AdjustedMark]:
    """The adjusted marks after so many actions and contract steps of a timeline, by position."""
    adjusted: dict[int, AdjustedMark] = {}
    for number in range(actions):
        adjusted.update(_fold_one(timeline, number, adjusted))
    for step, rows in zip(timeline.steps[:steps], timeline.step_rows, strict=False):
        if isinstance(step, MarkPrice):
            index = _position(timeline.instruments, step.instrument)
            before = _row_before(timeline, index, rows)
            if before >= 0:
                adjusted[index] = make_mark(timeline, index, before, step.price)
    return adjusted


def list_adjusted_marks(timeline: ActionTimeline) -> list[dict[int, AdjustedMark]]:
    """What each action of a timeline makes of marks, by position, in the order of the actions."""
    adjusted: dict[int, AdjustedMark] = {}
    found: list[dict[int, AdjustedMark]] = []
    for number in range(len(timeline.actions)):
        changed = _fold_one(timeline, number, adjusted)
        found.append(changed)
        adjusted.update(changed)
    return found


def _fold_one(
    timeline: ActionTimeline, number: int, adjusted: Mapping[int, AdjustedMark]
) -> dict[int, AdjustedMark]:
    rows = timeline.action_rows[number]

    def mark_of(index: int) -> AdjustedMark:
        row = _row_before(timeline, index, rows)
        known = adjusted.get(index)
        return known if known is not None and known.row == row else read_mark(timeline, index, row)

    return adjust_marks(timeline.instruments, timeline.actions[number], mark_of)


def read_mark(timeline: ActionTimeline, index: int, row: int) -> AdjustedMark:
    """The mark that a row gives; of no row (-1) there is none."""
    if row < 0:
        return AdjustedMark(-1, 0, float("nan"))
    return make_mark(timeline, index, row, float(timeline.columns["close"][row]))


def make_mark(timeline: ActionTimeline, index: int, row: int, price: float) -> AdjustedMark:
    """The mark that a price gives to the instrument at `index` while `row` is its newest."""
    ticks = compute_ticks(price, timeline.instruments[index].tick_float, 0)
    return AdjustedMark(row, ticks, price)


def _row_before(timeline: ActionTimeline, index: int, rows: int) -> int:
    """The newest row of the instrument at `index` among the first `rows`; -1: it has none."""
    own = timeline.rows_of(timeline.instruments[index].id)
    before = int(np.searchsorted(own, rows))
    return int(own[before - 1]) if before else -1


def compute_mark_ticks(
    timeline: ActionTimeline, index: int, row: int, actions: int, steps: int = 0
) -> int:
    """Mark of the instrument at `index` at its newest `row`, after so many `actions` and `steps`.

    What a session has there; 0 before the first row.
    """
    adjusted = fold_marks(timeline, actions, steps).get(index)
    if adjusted is not None and adjusted.row == row:
        return adjusted.ticks
    return read_mark(timeline, index, row).ticks


def _position(instruments: Sequence[Instrument], wanted: InstrumentId) -> int:
    return next(at for at, each in enumerate(instruments) if each.id == wanted)
