"""Circuit breakers: their limits as people write them, and the rules that they ask."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onetape.domain.breakers import BreakerAction, BreakerKind
from onetape.domain.errors import ConfigError
from onetape.domain.numbers import E8, Number, compute_ratio_floor, to_decimal, to_ratio_e8
from onetape.domain.rules import rule
from onetape.domain.timestamps import NS_PER_SECOND

_NS_PER_MINUTE = 60 * NS_PER_SECOND


class BreakerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """One breaker as people write it; what its kind does not look at stays None.

    `pct` belongs to losses and the rejection rate, `round_trips` to the losing streak, `orders` to
    the rejection rate (how many of the last answers of the venue count), `minutes` to stale data.
    It re-arms `cooldown_minutes` after it tripped, or with the next trading session if
    `rearm_next_session`, whichever comes first; with neither it stays tripped.
    """

    kind: BreakerKind
    action: BreakerAction
    is_account: bool = False
    pct: Number | None = None
    round_trips: int | None = None
    orders: int | None = None
    minutes: int | None = None
    cooldown_minutes: int | None = None
    rearm_next_session: bool = False


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """One breaker as the rules read it: a share in 1e-8, or a count, and times in ns."""

    kind: BreakerKind
    action: BreakerAction
    is_account: bool
    ratio_e8: int
    count: int
    limit_ns: int
    cooldown_ns: int
    rearm_next_session: bool


@rule
def is_loss_within(base: int, equity: int, ratio_e8: int) -> bool:
    """Whether equity has fallen `ratio_e8` of `base` at the most. Minor units. Ours."""
    loss = base - equity
    return loss <= 0 or loss <= compute_ratio_floor(base, ratio_e8)


@rule
def is_streak_within(losing_trips: int, most: int) -> bool:
    """Whether fewer than `most` round trips in a row have lost money. Ours."""
    return losing_trips < most


@rule
def is_rejection_rate_within(rejected: int, answered: int, orders: int, ratio_e8: int) -> bool:
    """Whether `ratio_e8` of the answers at the most are rejections, once there are `orders`. Ours.

    Counts stay below 2**31, so no product leaves int64.
    """
    return answered < orders or rejected * 100_000_000 <= answered * ratio_e8


@rule
def is_data_fresh(now: int, ts_newest: int, limit_ns: int, session_close: int) -> bool:
    """Whether the newest event is younger than `limit_ns`, or its session is over. ns UTC. Ours."""
    return now - ts_newest < limit_ns or now >= session_close


def build_breakers(limits: Sequence[BreakerLimits]) -> tuple[Breaker, ...]:
    """The breakers of a session, in the order of the configuration.

    Raises:
        ConfigError: A number is missing, not positive, or a killing breaker is to re-arm.
    """
    return tuple(_build(each, f"risk.breakers.{number}") for number, each in enumerate(limits))


_NEEDS = {
    BreakerKind.DAILY_LOSS: ("pct",),
    BreakerKind.DRAWDOWN: ("pct",),
    BreakerKind.LOSING_STREAK: ("round_trips",),
    BreakerKind.REJECTION_RATE: ("pct", "orders"),
    BreakerKind.STALE_DATA: ("minutes",),
}


def _build(limits: BreakerLimits, where: str) -> Breaker:
    for key in _NEEDS[limits.kind]:
        value = getattr(limits, key)
        if value is None or float(value) <= 0:
            raise ConfigError(
                f"a {limits.kind.value} breaker needs {key}", where=where, remedy="give more than 0"
            )
    rearms = limits.cooldown_minutes is not None or limits.rearm_next_session
    if limits.action is BreakerAction.KILL and rearms:
        raise ConfigError(
            "the kill switch is lifted by an operator, never by time",
            where=where,
            remedy="leave the re-arming out, or choose pause or flatten",
        )
    ratio_e8 = 0
    if limits.pct is not None:
        pct = to_decimal(limits.pct, where, error=ConfigError)
        ratio_e8 = to_ratio_e8(pct / 100, where, error=ConfigError)
    return Breaker(
        kind=limits.kind,
        action=limits.action,
        is_account=limits.is_account,
        ratio_e8=ratio_e8,
        count=limits.round_trips or limits.orders or 0,
        limit_ns=(limits.minutes or 0) * _NS_PER_MINUTE,
        cooldown_ns=(limits.cooldown_minutes or 0) * _NS_PER_MINUTE,
        rearm_next_session=limits.rearm_next_session,
    )


def share_of(count: int, of: int) -> float:
    """A share in percent, for people; 0 of nothing."""
    return 100 * count / of if of else 0.0


def percent_of(ratio_e8: int) -> float:
    """A ratio in percent, for people."""
    return 100 * ratio_e8 / E8
