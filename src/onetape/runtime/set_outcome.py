"""What one set of parameters came to, whichever host ran it."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.portfolio.performance_summary import PerformanceSummary


class GivenUp(Exception):
    """Compiled code can't run a set to its end; the Python host says what comes of it."""


class SetOutcome(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The figures of one backtest of a sweep; both hosts give the same bits.

    Attributes:
        summary: Every figure of the account.
        returns: Simple return of each period of `summary.returns_clock`, float64 of shape
            (periods,).
        orders: Orders that risk approved.
        denied: Orders, cancels and replaces that it refused.
        quarantined: Why the strategy was taken out; empty when it was not.
    """

    summary: PerformanceSummary
    returns: npt.NDArray[np.float64]
    orders: int
    denied: int
    quarantined: str = ""
