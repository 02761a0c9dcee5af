"""Our client order ids as Binance takes them, and back.

Ours is `SESSION-STRATEGY-NUMBER`. Binance takes up to 36 of the characters below, and a new id for
an order that takes the place of another: that of the order's n-th successor ends in `-r<n>`. The
name of a strategy that does not fit is a dot and six hex digits of its hash.

Source: Binance Spot REST API, "New order", `newClientOrderId`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from onetape.domain.errors import ConfigError

_LENGTH = 36
_TAKES = re.compile(r"[.A-Z:/a-z0-9_-]+\Z")
_OURS = re.compile(r"([^-]+)-(.+)-(\d+)\Z")
_THEIRS = re.compile(r"([^-]+)-(.+?)-(\d+?)(?:-r([1-9]\d{0,2}))?\Z")
_REST = len("--") + len("123456") + len("-r999")
"""What stands beside session and strategy."""


class OrderIds:
    """The ids of the strategies of one session.

    Args:
        session: What its ids begin with, before the first dash.
        strategies: Names of its strategies.

    Raises:
        ConfigError: Two names that don't fit have the same hash, or the session's id is too long.
    """

    def __init__(self, session: str, strategies: Iterable[str]) -> None:
        self._session = session
        if not _TAKES.match(session) or "-" in session or len(session) + _REST + 7 > _LENGTH:
            raise ConfigError(f"binance can't take order ids that begin with {session!r}",
                              remedy="up to 16 letters and digits")  # fmt: skip
        self._short: dict[str, str] = {}
        self._long: dict[str, str] = {}
        for name in strategies:
            short = self._shorten(name)
            if self._long.setdefault(short, name) != name:
                raise ConfigError(
                    f"strategies {self._long[short]!r} and {name!r} can't be told apart in "
                    "the order ids of binance", remedy="rename one of them",
                )  # fmt: skip
            self._short[name] = short

    def _shorten(self, name: str) -> str:
        if _TAKES.match(name) and len(self._session) + len(name) + _REST <= _LENGTH:
            return name
        return "." + hashlib.sha256(name.encode()).hexdigest()[:6]

    def to_wire(self, client_order_id: str, generation: int = 0) -> str:
        """The venue's form of our id, for the order or for its n-th successor.

        Raises:
            ConfigError: It is not of this session and these strategies, or does not fit.
        """
        match = _OURS.match(client_order_id)
        short = self._short.get(match[2], "") if match and match[1] == self._session else ""
        text = f"{self._session}-{short}-{match[3] if match else ''}"
        if generation:
            text += f"-r{generation}"
        if not short or len(text) > _LENGTH or generation > 999:
            raise ConfigError(f"binance can't take the order id {client_order_id!r}",
                              remedy="the session begins anew under another id")  # fmt: skip
        return text

    def from_wire(self, text: str) -> tuple[str, int] | None:
        """(our id, generation) of the venue's form; None for an order that is not ours."""
        match = _THEIRS.match(text)
        if match is None or match[1] != self._session or match[2] not in self._long:
            return None
        return f"{match[1]}-{self._long[match[2]]}-{match[3]}", int(match[4] or 0)
