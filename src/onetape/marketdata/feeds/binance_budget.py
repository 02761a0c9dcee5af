"""How much Binance lets us ask: request weight and orders in windows of its clock.

Source: Binance Spot REST API, "Limits": `X-MBX-USED-WEIGHT-1M` and `X-MBX-ORDER-COUNT-10S` tell
what is used up, 429 and 418 come with `Retry-After`; a window begins where its length divides the
time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

_SHARE_PERCENT = 90
"""What we use of a limit; the rest is for a person who uses the same account."""

_SECONDS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}
_USUAL = (
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
)


class _Window:
    """What is used of one limit in the window of `length_s` that began last."""

    def __init__(self, length_s: int, limit: int) -> None:
        self.length_s = length_s
        self.limit = max(1, limit * _SHARE_PERCENT // 100)
        self.number = 0
        self.used = 0

    def turn(self, now_s: float) -> None:
        number = int(now_s // self.length_s)
        if number != self.number:
            self.number, self.used = number, 0

    def wait_s(self, now_s: float, cost: int) -> float:
        self.turn(now_s)
        if not cost or not self.used or self.used + cost <= self.limit:
            return 0.0
        return (self.number + 1) * self.length_s - now_s


class RequestBudget:
    """Waits until a request may leave.

    Args:
        now_s: The venue's clock, seconds since 1970.
        sleep: Waits so many seconds.
    """

    def __init__(self, now_s: Callable[[], float], sleep: Callable[[float], Awaitable[None]]):
        self._now_s = now_s
        self._sleep = sleep
        self._held_until_s = 0.0
        self._windows: dict[str, list[_Window]] = {}
        self.set_limits(_USUAL)

    def set_limits(self, rate_limits: Any) -> None:
        """Take over the `rateLimits` of `exchangeInfo`."""
        windows: dict[str, list[_Window]] = {"REQUEST_WEIGHT": [], "ORDERS": []}
        for each in rate_limits:
            if each["rateLimitType"] in windows:
                length_s = _SECONDS[each["interval"]] * int(each["intervalNum"])
                window = _Window(length_s, int(each["limit"]))
                windows[each["rateLimitType"]].append(window)
        self._windows = windows

    async def spend(self, weight: int, orders: int = 0) -> None:
        """Wait until so much may be used, and count it as used."""
        while True:
            now_s = self._now_s()
            costs = (("REQUEST_WEIGHT", weight), ("ORDERS", orders))
            waits = [each.wait_s(now_s, cost) for name, cost in costs
                     for each in self._windows[name]]  # fmt: skip
            wait_s = max(self._held_until_s - now_s, *waits, 0.0)
            if wait_s <= 0:
                break
            await self._sleep(wait_s)
        for name, cost in costs:
            for each in self._windows[name]:
                each.used += cost

    def hold(self, seconds: float) -> None:
        """Nothing may leave for so long."""
        self._held_until_s = max(self._held_until_s, self._now_s() + seconds)

    def learn(self, headers: Mapping[str, str]) -> None:
        """What the venue counts is true; what is under way and not counted yet stays counted."""
        lower = {name.lower(): value for name, value in headers.items()}
        now_s = self._now_s()
        for name, title in (("REQUEST_WEIGHT", "used-weight"), ("ORDERS", "order-count")):
            for each in self._windows[name]:
                value = lower.get(f"x-mbx-{title}-{_show(each.length_s)}", "")
                if value.isdecimal():
                    each.turn(now_s)
                    each.used = max(each.used, int(value))


def _show(length_s: int) -> str:
    for unit, seconds in (("d", 86_400), ("h", 3600), ("m", 60)):
        if length_s % seconds == 0:
            return f"{length_s // seconds}{unit}"
    return f"{length_s}s"
