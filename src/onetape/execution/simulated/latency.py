"""Latency of the simulated venue: how long an order travels, the same in every run of a seed."""

from __future__ import annotations

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.numbers import Number, to_decimal
from onetape.domain.rules import rule
from onetape.domain.timestamps import NS_PER_MS

_MASK_32 = 0xFFFF_FFFF
_MASK_31 = 0x7FFF_FFFF
_WEYL = 0x9E37_79B9


class LatencyModel(msgspec.Struct, frozen=True, kw_only=True):
    """A normally distributed delay of every command, never negative, by its number.

    Fills when: a command reaches the venue its delay after it was decided.
    Ignores: queues, bursts and fat tails; delays of different commands are independent (the
        venue stretches one that would overtake the command before it).
    Units: milliseconds, to the nanosecond.
    Source: ours; the sum of 12 uniform numbers for the normal one (Irwin 1927, Hall 1927).
    """

    mean_ms: Number = 0
    std_ms: Number = 0


class LatencyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """A latency model and its seed as integers: the record that the rule reads."""

    key: int = 0
    mean_ns: int = 0
    std_ns: int = 0


@rule
def compute_hash32(word: int) -> int:
    """32 bits to 32 well mixed bits, inside int64 all the way.

    Source: Wellons 2018, "Prospecting for hash functions" (lowbias32). The second multiplier is
    written minus 2**32, which changes nothing modulo 2**32 and keeps the product inside int64.
    """
    word ^= word >> 16
    word = (word * 0x7FEB_352D) & _MASK_32
    word ^= word >> 15
    word = (word * (0x846C_A68B - 0x1_0000_0000)) & _MASK_32
    return word ^ (word >> 16)


@rule
def compute_latency_key(seed: int) -> int:
    """The 32-bit key of a 64-bit seed; near seeds get unrelated keys. Ours."""
    return compute_hash32(compute_hash32(seed & _MASK_32) ^ ((seed >> 32) & _MASK_32))


@rule
def compute_latency_ns(latency: LatencyTerms, counter: int) -> int:
    """Delay (ns) of the command number `counter` of a session, 0 at least.

    A function of key and counter alone, so it needs no state and no order of calls. Four hashed
    words of a Weyl sequence give twelve uniform numbers of 10 bits, whose sum has mean 6138 and
    standard deviation 1024 (to 5e-7); beyond six deviations nothing happens. Ours.
    """
    if latency.std_ns == 0:
        return latency.mean_ns
    total = 0
    step = (4 * counter) & _MASK_31
    last = step + 4
    while step < last:
        word = compute_hash32((latency.key + step * _WEYL) & _MASK_32)
        total += (word & 1023) + ((word >> 10) & 1023) + ((word >> 20) & 1023)
        step += 1
    return max(0, latency.mean_ns + latency.std_ns * (total - 6138) // 1024)


def build_latency(latency: LatencyModel, seed: int) -> LatencyTerms:
    """The terms of `latency` under the session's `seed`.

    Raises:
        ConfigError: A time is negative, longer than an hour or finer than a nanosecond.
    """
    return LatencyTerms(
        key=compute_latency_key(seed),
        mean_ns=to_delay_ns(latency.mean_ms, "mean_ms"),
        std_ns=to_delay_ns(latency.std_ms, "std_ms"),
    )


def to_delay_ns(value: Number, key: str) -> int:
    """Milliseconds of the key `execution.latency.<key>` as nanoseconds.

    Raises:
        ConfigError: Negative, longer than an hour or finer than a nanosecond.
    """
    where = f"execution.latency.{key}"
    exact = to_decimal(value, where, error=ConfigError) * NS_PER_MS
    if not 0 <= exact <= 3_600_000 * NS_PER_MS or exact != exact.to_integral_value():
        raise ConfigError(
            f"{value} ms is no delay",
            where=where,
            remedy="give milliseconds from 0 to 3600000, with up to 6 decimals",
        )
    return int(exact)
