"""Latency by order: each command's delay follows from the seed, its order, its kind and its time.

So a delay does not depend on what other strategies send, nor on how often they do. Each strategy
has a connection of its own, on which commands keep their order.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.events import OrderCancelPending, OrderSubmitted, VenueCommand
from onetape.domain.numbers import Number
from onetape.domain.rules import rule
from onetape.execution.simulated.latency import (
    LatencyTerms,
    compute_hash32,
    compute_latency_key,
    compute_latency_ns,
    to_delay_ns,
)

SAMPLES_MAX = 10_000
"""Most samples of a recording: they stand in the header of the tape."""

_MASK_32 = 0xFFFF_FFFF
_SUBMIT, _CANCEL, _REPLACE = range(3)


class FixedDelay(msgspec.Struct, frozen=True, kw_only=True):
    """The same delay for every command.

    Fills when: a command reaches the venue so long after it was decided.
    Ignores: everything that makes a delay vary.
    Units: milliseconds, to the nanosecond.
    """

    ms: Number = 0


class NormalDelay(msgspec.Struct, frozen=True, kw_only=True):
    """A normally distributed delay, never negative.

    Fills when, Ignores, Units, Source: as `LatencyModel`, of which it is the distribution.
    """

    mean_ms: Number = 0
    std_ms: Number = 0


class RecordedDelay(msgspec.Struct, frozen=True, kw_only=True):
    """Delays drawn from measured ones, each as likely as the others.

    Fills when: a command reaches the venue a drawn delay after it was decided.
    Ignores: that delays near in time are alike, and at which hour each was measured.
    Units: milliseconds, to the nanosecond.
    Source: ours; sampling with replacement (Efron 1979).
    """

    samples_ms: tuple[Number, ...]


DelayModel = FixedDelay | NormalDelay | RecordedDelay


class DelayTerms(msgspec.Struct, frozen=True, kw_only=True):
    """A delay in nanoseconds: normal, or one of `samples_ns` where there are any."""

    normal: LatencyTerms = LatencyTerms()
    samples_ns: tuple[int, ...] = ()


class RouteTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Delays of each kind of command, and the key of the session's seed."""

    key: int
    submit: DelayTerms
    cancel: DelayTerms
    replace: DelayTerms


@rule
def compute_command_word(key: int, order_word: int, kind: int, ts: int) -> int:
    """32 well mixed bits of a command: its order, its kind (0 to 2), when it leaves (ns). Ours."""
    word = compute_hash32(key ^ order_word)
    word = compute_hash32(word ^ (ts & _MASK_32))
    return compute_hash32(word ^ ((ts >> 32) & _MASK_32) ^ (kind << 30))


@rule
def compute_sample_index(word: int, count: int) -> int:
    """Which of `count` samples 32 random bits draw; each within `count` / 2**32 as often. Ours."""
    return (word * count) >> 32


def compute_order_word(client_order_id: str) -> int:
    """32 bits of an order: strategy and number of its intent, the session's own part left out."""
    _, _, own = client_order_id.partition("-")
    word = 0
    for byte in (own or client_order_id).encode():
        word = compute_hash32((word ^ byte) + 1 & _MASK_32)
    return word


def compute_delay_ns(routes: RouteTerms, command: VenueCommand, now: int) -> int:
    """Delay (ns) of a command that leaves at `now`, 0 at least."""
    if isinstance(command, OrderSubmitted):
        kind, terms = _SUBMIT, routes.submit
    elif isinstance(command, OrderCancelPending):
        kind, terms = _CANCEL, routes.cancel
    else:
        kind, terms = _REPLACE, routes.replace
    if not terms.samples_ns and not terms.normal.std_ns:
        return terms.normal.mean_ns
    order_word = compute_order_word(command.client_order_id)
    word = compute_command_word(routes.key, order_word, kind, now)
    if terms.samples_ns:
        return terms.samples_ns[compute_sample_index(word, len(terms.samples_ns))]
    return compute_latency_ns(terms.normal, word)


def connection_of(client_order_id: str) -> str:
    """Whose connection a command takes: session and strategy of its order."""
    return client_order_id.rpartition("-")[0]


def build_routes(
    seed: int,
    submit: DelayModel,
    cancel: DelayModel | None = None,
    replace: DelayModel | None = None,
) -> RouteTerms:
    """The terms of a session of `seed`; what is None is as `submit`.

    Raises:
        ConfigError: A time is negative, longer than an hour or finer than a nanosecond; there are
            no samples, or too many.
    """
    key = compute_latency_key(seed)
    first = _build_delay(key, submit)
    return RouteTerms(
        key=key,
        submit=first,
        cancel=first if cancel is None else _build_delay(key, cancel),
        replace=first if replace is None else _build_delay(key, replace),
    )


def _build_delay(key: int, model: DelayModel) -> DelayTerms:
    match model:
        case FixedDelay(ms=ms):
            return DelayTerms(normal=LatencyTerms(mean_ns=to_delay_ns(ms, "ms")))
        case NormalDelay(mean_ms=mean, std_ms=std):
            return DelayTerms(
                normal=LatencyTerms(
                    key=key,
                    mean_ns=to_delay_ns(mean, "mean_ms"),
                    std_ns=to_delay_ns(std, "std_ms"),
                )
            )
        case RecordedDelay(samples_ms=samples):
            return DelayTerms(samples_ns=_build_samples(samples))


def _build_samples(samples: Sequence[Number]) -> tuple[int, ...]:
    if not 0 < len(samples) <= SAMPLES_MAX:
        raise ConfigError(
            f"{len(samples):,} samples of latency",
            where="execution.latency.samples_ms",
            remedy=f"give 1 to {SAMPLES_MAX:,}",
        )
    return tuple(to_delay_ns(each, f"samples_ms.{at}") for at, each in enumerate(samples))
