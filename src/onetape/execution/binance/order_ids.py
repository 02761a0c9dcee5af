"""Our client order ids as Binance takes them, and back.

Ours is `SESSION-STRATEGY-NUMBER`, with eight digits of the session; before the number of an order
that closes a position is `close`. Binance takes up to 36 of the
characters below, and a new id for an order that takes the place of another: that of the order's
n-th successor ends in `-r<n>`. The name of a strategy that does not fit is a dot and six hex digits
of its hash.

An order that no session has given is `@SYMBOL:NUMBER` here, since its number is its symbol's only,
and is addressed by the number. Its n-th successor is ours: `at:SYMBOL:NUMBER-r<n>`.

Source: Binance Spot REST API, "New order", `newClientOrderId`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from onetape.domain.errors import ConfigError
from onetape.domain.venue import find_manual, is_of_a_session, name_manual

_LENGTH = 36
_TAKES = re.compile(r"[.A-Z:/a-z0-9_-]+\Z")
_OURS = re.compile(r"([.A-Z:/a-z0-9_]{1,8})-(.+)-((?:close)?\d+)\Z", re.DOTALL)
_THEIRS = re.compile(r"([.A-Z:/a-z0-9_]{1,8})-(.+?)-((?:close)?\d+?)(?:-r([1-9]\d{0,2}))?\Z")
_BY_HAND = re.compile(r"at:(.+:\d+)-r([1-9]\d{0,2})\Z")
_NAME_MAX = _LENGTH - len("12345678-") - len("-1234567") - len("-r999")


class OrderIds:
    """The ids of some strategies.

    Args:
        strategies: Their names.

    Raises:
        ConfigError: Two names that don't fit have the same hash.
    """

    def __init__(self, strategies: Iterable[str]) -> None:
        self._short: dict[str, str] = {}
        self._long: dict[str, str] = {}
        for name in strategies:
            short = _shorten(name)
            if self._long.setdefault(short, name) != name:
                raise ConfigError(
                    f"strategies {self._long[short]!r} and {name!r} can't be told apart in "
                    "the order ids of binance", remedy="rename one of them",
                )  # fmt: skip
            self._short[name] = short

    def to_wire(self, client_order_id: str, generation: int = 0) -> str:
        """The venue's form of our id, for the order or for its n-th successor.

        Raises:
            ConfigError: It is not of these strategies, or does not fit.
        """
        manual = find_manual(client_order_id)
        match = _OURS.match(client_order_id)
        short = self._short.get(match[2]) if match else None
        text = ""
        if match is not None and short is not None:
            text = f"{match[1]}-{short}-{match[3]}"
        elif manual and generation and _TAKES.match(manual):
            text = f"at:{manual}"
        whole = f"{text}-r{generation}" if generation else text
        if not text or len(whole) > _LENGTH or generation > 999:
            raise ConfigError(f"binance can't take the order id {client_order_id!r}",
                              remedy="the session begins anew under another id")  # fmt: skip
        return whole

    def address(
        self, client_order_id: str, generation: int = 0, prefix: str = ""
    ) -> dict[str, str]:
        """What names an order in a request: by its id, or by its number where it is not ours.

        The names of the parameters begin with `prefix`.

        Raises:
            ConfigError: See `to_wire`.
        """
        manual = find_manual(client_order_id)
        if manual and not generation:
            return {_camel(prefix, "orderId"): manual.rpartition(":")[2]}
        return {_camel(prefix, "origClientOrderId"): self.to_wire(client_order_id, generation)}

    def from_wire(self, text: str, symbol: str, venue_order_id: str) -> tuple[str, int]:
        """(our id, generation) of an order of the venue, by its id and its number there.

        An order that another session of ours has given has our form too: whoever hears of it does
        not know its id.
        """
        match = _THEIRS.match(text)
        if match is not None and match[2] in self._long:
            return f"{match[1]}-{self._long[match[2]]}-{match[3]}", int(match[4] or 0)
        successor = _BY_HAND.match(text)
        if successor is not None:
            return name_manual(successor[1]), int(successor[2])
        if match is not None and is_of_a_session(text[: match.end(3)]):
            return text[: match.end(3)], int(match[4] or 0)
        return name_manual(f"{symbol}:{venue_order_id}"), 0


def _camel(prefix: str, name: str) -> str:
    return prefix + name[0].upper() + name[1:] if prefix else name


def _shorten(name: str) -> str:
    if _TAKES.match(name) and len(name) <= _NAME_MAX:
        return name
    return "." + hashlib.sha256(name.encode()).hexdigest()[:6]
