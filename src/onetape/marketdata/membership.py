"""Who is in a universe at each moment of a session: when each instrument comes and goes."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

import msgspec

from onetape.domain.events import DatasetPin
from onetape.domain.instrument import InstrumentId

MEMBERSHIP = "membership"
"""What stands for the timeframe in the pin of a universe."""


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which members are kept; None: no such bound. Money is in the instrument's currency.

    Args:
        sectors: Other universes; a member of none of them is left out. Empty: not asked.
        min_price: Last close.
        min_turnover: Median of close x volume over the newest `window` bars.
        min_market_value: Last close x the newest `shares` of the fundamentals.
        window: Bars that turnover looks at; a member that has fewer is left out.
        timeframe: Of the bars.
    """

    sectors: tuple[str, ...] = ()
    min_price: float | None = None
    min_turnover: float | None = None
    min_market_value: float | None = None
    window: int = 20
    timeframe: str = "1d"

    @property
    def need_bars(self) -> bool:
        """Whether any bound is set."""
        return (self.min_price, self.min_turnover, self.min_market_value) != (None, None, None)


class UniverseChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The universe of a session. Its bounds are of the session's own bars, not of `timeframe`."""

    name: str
    filters: Filters = Filters()


class Membership:
    """The members of a universe among some instruments, as known at each moment of a session.

    Args:
        name: Of the universe.
        toggles: By instrument the times (ns UTC, rising) at which it is known to come, go, come
            again and so on; their order is that of `members_at`. No time: never in.
        version: Of the table that it was read from.

    Attributes:
        pin: What stands in the header of the tape; the hash is over all times.
    """

    def __init__(
        self, name: str, toggles: Mapping[InstrumentId, Sequence[int]], *, version: int = 0
    ) -> None:
        self.name = name
        self.toggles = {each: tuple(times) for each, times in toggles.items()}
        self._times = sorted({ts for times in self.toggles.values() for ts in times})
        self._slot = -1
        self._members: frozenset[InstrumentId] = frozenset()
        lines = [f"{each} {' '.join(map(str, t))}\n" for each, t in sorted(self.toggles.items())]
        self.pin = DatasetPin(
            instrument=InstrumentId(name),
            timeframe=MEMBERSHIP,
            table_version=version,
            content_hash=hashlib.sha256("".join(lines).encode()).hexdigest(),
            rows=sum(map(len, self.toggles.values())),
            ts_first=self._times[0] if self._times else 0,
            ts_last=self._times[-1] if self._times else 0,
        )

    def is_member(self, instrument: InstrumentId, ts: int) -> bool:
        """Whether an instrument is in at `ts` (ns UTC), by what was known then."""
        return bisect_right(self.toggles.get(instrument, ()), ts) % 2 == 1

    def members_at(self, ts: int) -> tuple[InstrumentId, ...]:
        """Who is in at `ts` (ns UTC), by what was known then, in the order of the instruments."""
        members = self.find_members(ts)
        return tuple(each for each in self.toggles if each in members)

    def find_members(self, ts: int) -> frozenset[InstrumentId]:
        """`members_at` to look somebody up in; worked out when somebody has come or gone."""
        slot = bisect_right(self._times, ts)
        if slot != self._slot:
            self._slot = slot
            self._members = frozenset(each for each in self.toggles if self.is_member(each, ts))
        return self._members

    def change(self, move: Callable[[InstrumentId, tuple[int, ...]], Sequence[int]]) -> Membership:
        """The same universe, and pin, with the times that `move` makes of each instrument's."""
        moved = Membership(self.name, {each: move(each, t) for each, t in self.toggles.items()})
        moved.pin = self.pin
        return moved
