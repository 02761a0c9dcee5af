"""Corporate actions that are ahead of a live session, put in time by calendars.

A backtest finds an action's time among its bars: the open of the first one of its day. Those bars
have not come yet, so here it is the open of the first session of that day or later, which the first
bar has too. A bar that comes from before that open, of extended hours, brings it forward
(`AnnouncedAction.is_before`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from onetape.domain.corporate_actions import compute_terms
from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.venue import BarClosed, RowHeard
from onetape.marketdata.calendars import AroundTheClock, build_calendar
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.corporate_actions import ActionRow, read_actions
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.side_files import IN_CATALOG
from onetape.marketdata.stored_events import StoredEvents
from onetape.marketdata.timezones import utc_to_local_days

_DAYS_AHEAD = 15
"""More than the longest holiday."""

_AT_VENUES = (
    CorporateActionKind.SPLIT, CorporateActionKind.STOCK_DIVIDEND, CorporateActionKind.DELISTING,
    CorporateActionKind.CASH_DIVIDEND,
)  # fmt: skip
"""What is carried at a real venue: of one instrument, which the venue knows by the same name."""

_PRICED = (CorporateActionKind.SPIN_OFF, CorporateActionKind.MERGER)
"""What settles fractions of new shares."""


class AnnouncedAction(msgspec.Struct, frozen=True):
    """An action that is to come, effective at its `ts_event` unless a row of its day comes before.

    `ts_day` (ns UTC) is when that day begins; of an action with an exact time it is that. `where`
    is the place of the row that announced it.
    """

    action: CorporateAction
    ts_day: int
    where: str

    def is_before(self, row: RowHeard) -> bool:
        """Whether a row of an instrument of the action is from behind it."""
        action = self.action
        return (
            row.instrument in (action.instrument, action.new_instrument)
            and opened_at(row) >= self.ts_day
        )

    def is_same(self, met: CorporateAction) -> bool:
        """Whether it is an action that a session has met."""
        action = self.action
        return (
            self.ts_day <= met.ts_event <= action.ts_event
            and (met.instrument, met.kind, met.value, met.divisor, met.new_instrument)
            == (action.instrument, action.kind, action.value, action.divisor,
                action.new_instrument)
        )  # fmt: skip


def opened_at(row: RowHeard) -> int:
    """When a row began, ns UTC; a tick is a bar of a nanosecond."""
    return row.ts_open if isinstance(row, BarClosed) else row.ts_close - 1


class Announcements:
    """Where the actions of a live session are read.

    At a real venue an action takes effect where its day begins: orders have to be gone there before
    the open, and the broker adjusts what it keeps by then.

    Args:
        source: A CSV file, or `IN_CATALOG`.
        catalog: Where the catalog is.
        instruments: Of the session; rows of others are passed over.
        strategies: What each of them trades, by name.
        is_simulated: Whether the venue is the simulated one.
    """

    def __init__(
        self,
        source: Path,
        catalog: Path,
        instruments: Sequence[Instrument],
        strategies: Mapping[str, Sequence[InstrumentId]],
        *,
        is_simulated: bool,
    ) -> None:
        self._source = source
        self._catalog = catalog
        self._defined = {each.id: each for each in instruments}
        self._strategies = strategies
        self._is_simulated = is_simulated

    def days_at(self, ts: int) -> tuple[int, ...]:
        """The local days at `ts` (ns UTC), of each calendar of the session."""
        zones = {build_calendar(each.calendar).timezone: None for each in self._defined.values()}
        return tuple(int(utc_to_local_days(np.array([ts]), zone)[0]) for zone in zones)

    def read(self, ts_since: int) -> list[AnnouncedAction]:
        """The actions from `ts_since` (ns UTC) on, in the order in which a session meets them.

        A dividend that is paid later comes without its payment.

        Raises:
            DataError: There is no such file, the catalog has no actions of these instruments, or a
                row is wrong or not carried; its place is told.
        """
        defined, store = self._defined, Catalog(self._catalog)
        known = dict.fromkeys([*store.instruments(), *defined])
        if self._source == IN_CATALOG:
            kind = RecordKind.CORPORATE_ACTIONS
            rows = StoredEvents(store, kind, list(defined), None).actions(known)
        else:
            rows = read_actions(self._source, known)
        by_calendar: dict[str, list[ActionRow]] = {}
        for row in rows:
            if row.instrument in defined:
                by_calendar.setdefault(defined[row.instrument].calendar, []).append(row)
        found: list[AnnouncedAction] = []
        for name, own in by_calendar.items():
            sessions = _Sessions(name, own, ts_since)
            for row in own:
                try:
                    found += self._place(row, sessions, ts_since)
                except DataError as error:
                    raise DataError(error.what, where=row.where, remedy=error.remedy) from None
        order = {row.where: at for at, row in enumerate(rows)}
        place = {each: at for at, each in enumerate(defined)}
        found.sort(
            key=lambda each: (
                each.action.ts_event, place[each.action.instrument], order[each.where]
            )
        )  # fmt: skip
        return found

    def _place(self, row: ActionRow, sessions: _Sessions, ts_since: int) -> list[AnnouncedAction]:
        if row.day is None:
            ts = ts_day = row.ts or 0
        else:
            ts_day, begins, opens = sessions.find(row.day)
            ts = opens if self._is_simulated else begins
        if ts < ts_since:
            return []
        self._check_carried(row)
        ts_pay = 0
        if row.pay_day is not None:
            _, begins, opens = sessions.find(row.pay_day)
            ts_pay = opens if self._is_simulated else begins
            if ts_pay < ts:
                raise DataError(f"the {row.kind.value} of {row.instrument} is paid before it")
        action = CorporateAction(
            instrument=row.instrument, kind=row.kind, ts_event=ts, ts_known=ts, value=row.value,
            divisor=row.divisor, source="file", ts_pay=ts_pay, new_instrument=row.new_instrument,
            cash=row.cash, price=row.price, cost_ratio=row.cost_ratio,
        )  # fmt: skip
        defined = self._defined
        compute_terms(action, defined[row.instrument], defined.get(row.new_instrument))
        return [AnnouncedAction(action, ts_day, row.where)]

    def _check_carried(self, row: ActionRow) -> None:
        what = f"a {row.kind.value} of {row.instrument}"
        if not self._is_simulated and row.kind not in _AT_VENUES:
            raise DataError(
                f"{what} is not carried at a real venue",
                remedy="close the position before its day and leave the row out, or run in paper",
            )
        for name, traded in self._strategies.items():
            if row.instrument in traded and row.new_instrument not in ("", *traded):
                raise DataError(
                    f"strategy {name} trades {row.instrument}, which turns into "
                    f"{row.new_instrument} ({row.kind.value}), but not that",
                    remedy="add it to the instruments of the strategy",
                )
        if row.new_instrument and row.price is None and row.kind in _PRICED:
            raise DataError(
                f"{what} does not say what {row.new_instrument} is worth, which may not have "
                "traded by then", remedy="give its price",
            )  # fmt: skip


class _Sessions:
    """The days of a calendar on which rows of actions fall, from `ts_since` on."""

    def __init__(self, calendar: str, rows: Sequence[ActionRow], ts_since: int) -> None:
        built = build_calendar(calendar)
        first = int(utc_to_local_days(np.array([ts_since]), built.timezone)[0]) - 1
        last = max((max(row.day or 0, row.pay_day or 0) for row in rows), default=0)
        self._first = first
        self._name = calendar
        days = np.arange(first, max(first, last) + _DAYS_AHEAD)
        bounds = built.bounds(days)
        whole = AroundTheClock(built.timezone).bounds(days)
        self._known = bounds.known
        self._opens = bounds.opens.tolist()
        self._midnights = whole.opens.tolist()
        self._has_midnight = whole.known

    def find(self, day: int) -> tuple[int, int, int]:
        """(its midnight, that of its session's day, and when that opens), ns UTC.

        The session is that of the day, or the next one. Times of a day from before are 0.
        """
        at = day - self._first
        if at < 0:
            return 0, 0, 0
        later = self._known[at : at + _DAYS_AHEAD]
        if not later.any():
            raise DataError(f"calendar {self._name} has no session on its day, or soon behind it")
        session = at + int(later.argmax())
        if not (self._has_midnight[at] and self._has_midnight[session]):
            raise DataError("its day does not begin at midnight", remedy="give its ts")
        return self._midnights[at], self._midnights[session], self._opens[session]
