"""Bars that a feed passes over, because they lie outside of an exchange's hours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onetape.domain.instrument import Instrument
from onetape.domain.timestamps import to_iso
from onetape.marketdata.feeds.port import PassedOver
from onetape.marketdata.session_times import SessionTimes


class PassedBars:
    """Counts them, and says until when nothing else is to be expected.

    Args:
        instruments: Of the session.
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._calendars = {each.id: each.calendar for each in instruments}
        self._times = {each.calendar: SessionTimes(each.calendar) for each in instruments}
        self._count = 0
        self._newest: PassedOver | None = None
        self._is_told = False

    def add(self, bar: PassedOver) -> None:
        """One more."""
        self._count += 1
        self._newest = bar

    def end(self) -> None:
        """Something came that is taken."""
        self._newest = None
        self._is_told = False

    def take_news(self) -> tuple[int, str]:
        """When (ns UTC) and why bars are passed over, once; empty behind that."""
        if self._newest is None or self._is_told:
            return 0, ""
        self._is_told = True
        return self._newest.ts_close, self.why

    @property
    def why(self) -> str:
        """Why nothing happens; empty: the newest that came was taken."""
        if self._newest is None:
            return ""
        instrument, ts_close = self._newest.instrument, self._newest.ts_close
        calendar = self._calendars[instrument]
        opens, _ = self._times[calendar].next_session(ts_close - 1)
        until = f"opens at {to_iso(opens)}" if opens else "does not open soon"
        return (
            f"bars of {instrument} come from outside of its hours ({calendar}), the newest of "
            f"{to_iso(ts_close)}; it {until}: wait, or let a local venue begin there (--start)"
        )

    def describe(self) -> dict[str, Any]:
        """For `status`: how many since this process began, and why nothing happens."""
        return {"bars": self._count, "why": self.why}
