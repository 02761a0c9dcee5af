"""Adjusted prices from raw ones and corporate actions, as of a moment: never from the future.

Back-adjusted: the newest row that is known then stands as it was traded, older ones are scaled to
it. What is known later, rows and actions, is left out, so an adjusted history of one day is not
that of the next, as it was not for those who lived it.

| action, effective at `t`  | factor of the prices of all bars that open before `t`                |
| ------------------------- | -------------------------------------------------------------------- |
| split, n new for o old    | `o / n`; volumes by `n / o`                                          |
| cash dividend `d` a share | `1 - d / c`, where `c` is the close of the last bar before `t`, in   |
| (cum close)               | the shares of `t` (CRSP, *Data Definitions*, factor to adjust price) |
| the same (ex close)       | `x / (x + d)`, where `x` is the close of the first bar from `t` on,  |
|                           | once that is known (Quandl WIKI)                                     |

Factors multiply. Symbol changes and delistings leave prices alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.timestamps import to_iso
from onetape.marketdata.bars import BarColumns, FloatArray, slice_rows

_PRICES = ("open", "high", "low", "close")
_SCALED = (CorporateActionKind.SPLIT, CorporateActionKind.CASH_DIVIDEND)
_LEFT_ALONE = (CorporateActionKind.SYMBOL_CHANGE, CorporateActionKind.DELISTING)


class Adjustment(Enum):
    """What prices are adjusted for.

    | adjustment      | for                                                             |
    | --------------- | --------------------------------------------------------------- |
    | `raw`           | nothing                                                         |
    | `split`         | splits                                                          |
    | `dividend`      | cash dividends                                                  |
    | `total_return`  | both: changes of the price are those of a holder who reinvests  |
    """

    RAW = "raw"
    SPLIT = "split"
    DIVIDEND = "dividend"
    TOTAL_RETURN = "total_return"


class DividendBase(Enum):
    """Which close a dividend is measured by; see the module."""

    CUM_CLOSE = "cum_close"
    EX_CLOSE = "ex_close"


class Factors(msgspec.Struct, frozen=True, eq=False):
    """What to multiply each row's prices and volume by, float64 of shape (rows,)."""

    price: FloatArray
    volume: FloatArray


def compute_factors(
    columns: BarColumns,
    actions: Sequence[CorporateAction],
    adjustment: Adjustment,
    ts_known: int,
    base: DividendBase = DividendBase.CUM_CLOSE,
) -> Factors:
    """The factors of raw bars of one instrument as of `ts_known`.

    Args:
        columns: `BAR_COLUMNS` in time order, raw; rows known after `ts_known` get the factor 1.
        actions: Of that instrument, in any order; those known after `ts_known` do not count.
        adjustment: What for.
        ts_known: The moment of the decision, ns UTC.
        base: Which close a dividend is measured by.

    Raises:
        DataError: A dividend is as large as the price, a ratio of shares is not positive, or the
            kind of an action is not carried.
    """
    rows = int(np.searchsorted(columns["ts_known"], ts_known, side="right"))
    price, volume = np.ones(len(columns["ts_open"])), np.ones(len(columns["ts_open"]))
    close = columns["close"][:rows]
    past = [each for each in actions if max(each.ts_known, each.ts_event) <= ts_known]
    shares = {CorporateActionKind.SPLIT: 0}
    past.sort(key=lambda each: (each.ts_event, shares.get(each.kind, 1)))
    split_now, ts_split = 1.0, -1
    for action in past:
        if action.kind in _LEFT_ALONE:
            continue
        if action.kind not in _SCALED:
            raise DataError(f"prices can't be adjusted for a {action.kind.value}",
                            where=action.instrument, remedy="use raw prices")  # fmt: skip
        before = int(np.searchsorted(columns["ts_open"][:rows], action.ts_event))
        if action.ts_event != ts_split:
            split_now, ts_split = 1.0, action.ts_event
        if action.kind is CorporateActionKind.SPLIT:
            ratio = action.value / action.divisor
            if not (ratio > 0 and np.isfinite(ratio)):
                raise _refuse(action, f"gives {ratio} shares for one")
            split_now *= ratio
            if adjustment in (Adjustment.SPLIT, Adjustment.TOTAL_RETURN):
                price[:before] *= action.divisor / action.value
                volume[:before] *= ratio
        elif adjustment in (Adjustment.DIVIDEND, Adjustment.TOTAL_RETURN) and before:
            price[:before] *= _dividend_factor(action, close, before, split_now, base)
    return Factors(price, volume)


def _dividend_factor(
    action: CorporateAction, close: FloatArray, before: int, split_now: float, base: DividendBase
) -> float:
    """1 while the close that it is measured by is not known."""
    if base is DividendBase.EX_CLOSE:
        return float(close[before] / (close[before] + action.value)) if before < len(close) else 1.0
    cum = float(close[before - 1]) / split_now
    if action.value >= cum:
        raise _refuse(action, f"of {action.value} is not below the close of {cum:g} before it")
    return 1.0 - action.value / cum


def _refuse(action: CorporateAction, what: str) -> DataError:
    return DataError(
        f"the {action.kind.value} at {to_iso(action.ts_event)} {what}", where=action.instrument,
        remedy="correct the action, or the prices are adjusted already",
    )  # fmt: skip


def adjust_bars(
    columns: BarColumns,
    actions: Sequence[CorporateAction],
    adjustment: Adjustment,
    ts_known: int,
    base: DividendBase = DividendBase.CUM_CLOSE,
) -> BarColumns:
    """The bars known at `ts_known`, adjusted as of then; see `compute_factors`."""
    rows = int(np.searchsorted(columns["ts_known"], ts_known, side="right"))
    factors = compute_factors(columns, actions, adjustment, ts_known, base)
    known = slice_rows(columns, 0, rows)
    return {
        **known,
        **{name: known[name] * factors.price[:rows] for name in _PRICES},
        "volume": known["volume"] * factors.volume[:rows],
    }
