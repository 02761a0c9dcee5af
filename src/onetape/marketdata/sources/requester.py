"""Asks a provider at the pace it allows, and again where a repetition can help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from onetape.domain.errors import SourceUnavailable
from onetape.domain.timestamps import NS_PER_SECOND

Answer = TypeVar("Answer")

USUAL_PER_MINUTE = 60.0
"""For providers that suggest nothing."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often a provider may be asked, and how long to go on when it does not answer.

    `per_minute` requests on average (None: as the provider suggests), `burst` of them at once.
    After failure n (from 0) the wait is `first_wait_s` x 2**n, at most `longest_wait_s`, plus up to
    a quarter by chance, so that programs that failed together do not come back together; or what
    the provider asks for, if that is more. It is asked `attempts` times. A provider that asks for
    more than `longest_wait_s` ends the work at once: it can be resumed.
    """

    per_minute: float | None = None
    burst: int = 5
    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0


class TokenBucket:
    """Holds `burst` tokens, filled at a steady rate; each request takes one.

    Source: the token bucket of RFC 2697 section 3 with one rate, in requests instead of bytes.
    """

    def __init__(self, per_minute: float, burst: int, now_s: float) -> None:
        self._per_second = per_minute / 60.0
        self._burst = float(burst)
        self._tokens = self._burst
        self._filled_at_s = now_s

    def take(self, now_s: float) -> float:
        """Takes a token; returns how many seconds to wait for it, 0 when it was there."""
        gained = max(0.0, now_s - self._filled_at_s) * self._per_second
        self._filled_at_s = max(now_s, self._filled_at_s)
        self._tokens = min(self._burst, self._tokens + gained) - 1.0
        return max(0.0, -self._tokens / self._per_second)


class Requester:
    """Runs requests one after the other, paced and repeated as `pace` says.

    Args:
        pace: The provider's limits.
        clock: Seconds that never run backwards.
        sleep: Waits so many seconds.
        chance: A number from 0 to 1, for the part of a wait that is left to chance.
        remedy: What to do when the last attempt has failed.
    """

    def __init__(
        self,
        pace: Pace,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        chance: Callable[[], float],
        remedy: str = "",
    ) -> None:
        self.pace = pace
        self._remedy = remedy
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._bucket = TokenBucket(pace.per_minute or USUAL_PER_MINUTE, pace.burst, clock())
        self.repeated = 0

    def suggest(self, per_minute: float) -> None:
        """The provider's usual limit: it holds unless the caller has said another one."""
        if self.pace.per_minute is None:
            self._bucket = TokenBucket(per_minute, self.pace.burst, self._clock())

    def __call__(self, request: Callable[[], Answer]) -> Answer:
        """What `request` returns.

        Raises:
            SourceUnavailable: The last of the attempts raised it, or the provider asks to wait
                for longer than `pace` allows. Other errors of `request` pass at once.
        """
        attempt = 0
        while True:
            self._pause(self._bucket.take(self._clock()))
            try:
                return request()
            except SourceUnavailable as failure:
                attempt += 1
                asked = failure.retry_after_s
                if attempt >= self.pace.attempts or asked > self.pace.longest_wait_s:
                    raise self._give_up(failure, attempt) from None
                self.repeated += 1
                self._pause(max(asked, self._backoff(attempt - 1)))

    def _backoff(self, failures_before: int) -> float:
        pace = self.pace
        wait = min(pace.longest_wait_s, pace.first_wait_s * 2.0 ** min(failures_before, 30))
        return wait * (1.0 + self._chance() / 4.0)

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._sleep(seconds)

    def _give_up(self, failure: SourceUnavailable, attempts: int) -> SourceUnavailable:
        wait = f", and asks to wait {failure.retry_after_s:,.0f} s" if failure.retry_after_s else ""
        times = f" (asked {attempts} times{wait})" if attempts > 1 or wait else ""
        return SourceUnavailable(
            f"{failure.what}{times}", where=failure.where, remedy=self._remedy,
            retry_after_s=failure.retry_after_s,
        )  # fmt: skip


def host_of(url: str) -> str:
    """Host and port of an address, without the user and password that it may hold."""
    return urlsplit(url).netloc.rpartition("@")[2]


def read_retry_after(headers: Mapping[str, str], ts_now: int | None = None) -> float:
    """Seconds that the headers of an answer ask to wait; 0 when they don't.

    `Retry-After` in seconds or as a date (RFC 9110 section 10.2.3), else `X-RateLimit-Reset` in
    seconds since 1970; these are counted from the answer's own `Date`, else from `ts_now`.
    """
    found = {name.lower(): text.strip() for name, text in headers.items()}
    asked = found.get("retry-after", "")
    if asked.isdigit():
        return float(asked)
    reset = found.get("x-ratelimit-reset", "")
    moment = _read_date(asked) or (int(reset) * NS_PER_SECOND if reset.isdigit() else None)
    now = read_server_time(headers) or ts_now
    if moment is None or now is None:
        return 0.0
    return max(0.0, (moment - now) / NS_PER_SECOND)


def read_server_time(headers: Mapping[str, str]) -> int | None:
    """Time (ns UTC) of the `Date` header (whole seconds, cut off); None when there is none."""
    for name, text in headers.items():
        if name.lower() == "date":
            return _read_date(text)
    return None


def _read_date(text: str) -> int | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS_PER_SECOND
