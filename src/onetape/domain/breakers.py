"""The words of circuit breakers: what they look at, and what they do."""

from __future__ import annotations

from enum import Enum


class BreakerKind(Enum):
    """What a breaker looks at."""

    DAILY_LOSS = "daily_loss"
    DRAWDOWN = "drawdown"
    LOSING_STREAK = "losing_streak"
    REJECTION_RATE = "rejection_rate"
    STALE_DATA = "stale_data"


class BreakerAction(Enum):
    """What a breaker does when it trips.

    PAUSE cancels the orders that don't protect a position and refuses what is not reducing. FLATTEN
    cancels every order and closes every position at the market too. KILL sets the kill switch of
    the session, which only an operator lifts.
    """

    PAUSE = "pause"
    FLATTEN = "flatten"
    KILL = "kill"
