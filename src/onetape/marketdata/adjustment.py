"""Adjusted prices from raw ones and corporate actions, as of a moment: never from the future.

Back-adjusted: the newest row that is known then stands as it was traded, older ones are scaled to
it. What is known later, rows and actions, is left out, so an adjusted history of one day is not
that of the next, as it was not for those who lived it.

| action, effective at `t`  | factor of the prices of all bars that open before `t`                |
| ------------------------- | -------------------------------------------------------------------- |
| split, n new for o old    | `o / n`; volumes by `n / o`                                          |
| stock dividend, n for o   | `o / (n + o)`; volumes by `(n + o) / o`                              |
| cash dividend `d` a share | `1 - d / c`, where `c` is the close of the last bar before `t`, in   |
| (cum close)               | the shares of `t` (CRSP, *Data Definitions*, factor to adjust price) |
| the same (ex close)       | `x / (x + d)`, where `x` is the close of the first bar from `t` on,  |
|                           | once that is known (Quandl WIKI)                                     |

Factors multiply. Payments of dividends, symbol changes, mergers and delistings leave the prices
before them alone; spin-offs are refused, since what was spun off has no price here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.timestamps import to_iso
from onetape.marketdata.bars import BarColumns, FloatArray, slice_rows

_PRICES = ("open", "high", "low", "close")


class Adjustment(Enum):
    """What prices are adjusted for.

    | adjustment      | for                                                             |
    | --------------- | --------------------------------------------------------------- |
    | `raw`           | nothing                                                         |
    | `split`         | splits and stock dividends                                      |
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


_IN_PRICES = {
    "splits": (True, False), "dividends": (False, True), "all": (True, True),
    "vendor": (True, True),
}  # fmt: skip
"""By the adjustment of a dataset: whether splits, and whether cash dividends, are in its prices."""


def check_raw(
    adjustments: Mapping[InstrumentId, str], actions: Sequence[CorporateAction], *, as_paid: bool
) -> None:
    """That actions and prices of a session are of the same shares, and nothing happens twice.

    Args:
        adjustments: Of the dataset of each instrument; other words than ours are not judged.
        actions: Those of the session.
        as_paid: Whether amounts are a share of their own day, as in the catalog. Then adjusted
            prices go with none of them; else only with those that are not in the prices already.

    Raises:
        DataError: They are not.
    """
    for action in actions:
        word = adjustments.get(action.instrument, "none")
        splits, dividends = _IN_PRICES.get(word, (False, False))
        is_dividend = action.kind is CorporateActionKind.CASH_DIVIDEND
        what = f"the {action.kind.value} at {to_iso(action.ts_event)}"
        if (splits and action.kind.scales) or (dividends and is_dividend):
            raise DataError(
                f"its prices are adjusted ({word}): {what} is in them already",
                where=action.instrument, remedy="use raw prices, or leave such actions out",
            )  # fmt: skip
        if as_paid and splits and action.kind is not CorporateActionKind.SYMBOL_CHANGE:
            raise DataError(
                f"its prices are adjusted ({word}), and {what} is of the shares of its day",
                where=action.instrument, remedy="use raw prices, or a file of actions that fits",
            )  # fmt: skip


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
    past.sort(key=lambda each: (each.ts_event, not each.kind.scales))
    split_now, ts_split = 1.0, -1
    for action in past:
        if action.kind.ends or action.kind is CorporateActionKind.DIVIDEND_PAYMENT:
            continue
        if not action.kind.scales and action.kind is not CorporateActionKind.CASH_DIVIDEND:
            raise DataError(f"prices can't be adjusted for a {action.kind.value}",
                            where=action.instrument, remedy="use raw prices")  # fmt: skip
        before = int(np.searchsorted(columns["ts_open"][:rows], action.ts_event))
        if action.ts_event != ts_split:
            split_now, ts_split = 1.0, action.ts_event
        if action.kind.scales:
            new = action.value
            if action.kind is CorporateActionKind.STOCK_DIVIDEND:
                new += action.divisor
            ratio = new / action.divisor
            if not (ratio > 0 and np.isfinite(ratio)):
                raise _refuse(action, f"gives {ratio} shares for one")
            split_now *= ratio
            if adjustment in (Adjustment.SPLIT, Adjustment.TOTAL_RETURN):
                price[:before] *= action.divisor / new
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
