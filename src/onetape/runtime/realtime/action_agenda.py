"""Corporate actions that a session waits for, until each takes effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.timestamps import to_iso
from onetape.domain.venue import RowHeard
from onetape.marketdata.announced_actions import AnnouncedAction, opened_at
from onetape.marketdata.corporate_actions import pay_dividend

_DIVIDEND, _PAYMENT = CorporateActionKind.CASH_DIVIDEND, CorporateActionKind.DIVIDEND_PAYMENT


class ActionAgenda:
    """Actions in, at their time out: each once, and before the first row from behind it.

    An action waits for bars that closed by its time and are under way, as a slice waits for the
    rest of its bars. The payment of a dividend comes from the dividend that was met.

    Args:
        grace_ns: How long it waits.

    Attributes:
        ahead: What is to come, by time.
        missed: What came too late: a row from behind it had been taken before it was announced.
        problem: Why the newest reading failed; empty: it did not.
    """

    def __init__(self, grace_ns: int) -> None:
        self._grace_ns = grace_ns
        self.ahead: list[AnnouncedAction] = []
        self.missed: list[str] = []
        self.problem = ""

    @property
    def next_due(self) -> int | None:
        """When time alone makes the next one due, ns UTC; None: never."""
        return self.ahead[0].action.ts_event + self._grace_ns if self.ahead else None

    def announce(
        self,
        announced: Sequence[AnnouncedAction],
        met: Sequence[CorporateAction],
        closes: Mapping[InstrumentId, int],
        ts_start: int,
    ) -> None:
        """Wait for these instead of those of before; what was met is no more waited for.

        Args:
            announced: In the order in which they are met.
            met: What the session has met, in order.
            closes: When the newest row of each instrument closed, ns UTC; -1 where there is none.
            ts_start: When the session began, ns UTC: what is from before it and has rows behind it
                is of no concern.
        """
        self.problem = ""
        self.missed = []
        self.ahead = []
        for each in announced:
            action = each.action
            if any(each.is_same(one) for one in met):
                continue
            close = closes.get(action.instrument, -1)
            is_ours = action.ts_event >= ts_start
            if close <= each.ts_day and (close >= 0 or is_ours):
                self.ahead.append(each)
            elif is_ours:
                self.missed.append(_tell(action))
        for action in met:
            self._expect_payment(action, met)
        self.ahead.sort(key=lambda each: each.action.ts_event)

    def _expect_payment(self, action: CorporateAction, met: Sequence[CorporateAction]) -> None:
        if action.kind is not _DIVIDEND or not action.ts_pay:
            return
        payment = pay_dividend(action)
        is_paid = any(
            each.kind is _PAYMENT and (each.instrument, each.ts_pay) == (action.instrument,
                                                                         action.ts_pay)
            for each in met
        )  # fmt: skip
        waiting = [(each.action.instrument, each.action.ts_pay) for each in self.ahead
                   if each.action.kind is _PAYMENT]  # fmt: skip
        if not is_paid and (action.instrument, action.ts_pay) not in waiting:
            self.ahead.append(AnnouncedAction(payment, action.ts_pay, "its dividend"))

    def take_due(self, now: int, rows: Sequence[RowHeard] = ()) -> list[CorporateAction]:
        """What time alone has made due at `now` (ns UTC), and what comes before rows; in order.

        The payment of a dividend among them may be due too: ask until there is nothing.
        """
        if not self.ahead:
            return []
        newest = max(map(opened_at, rows), default=-1)
        if self.ahead[0].action.ts_event + self._grace_ns > now and (
            newest < min(each.ts_day for each in self.ahead)
        ):  # fmt: skip
            return []  # the usual case
        found: list[CorporateAction] = []
        ahead: list[AnnouncedAction] = []
        for each in self.ahead:
            action = each.action
            opens = [opened_at(row) for row in rows if each.is_before(row)]
            if not opens and action.ts_event + self._grace_ns > now:
                ahead.append(each)
                continue
            ts = min([action.ts_event, *opens])
            found.append(msgspec.structs.replace(action, ts_event=ts, ts_known=ts))
        self.ahead = ahead
        found.sort(key=lambda each: each.ts_event)
        for action in found:
            self._expect_payment(action, found)
        self.ahead.sort(key=lambda each: each.action.ts_event)
        return found

    def describe(self) -> dict[str, object]:
        """What `status` tells of it."""
        return {
            "ahead": [_tell(each.action) for each in self.ahead],
            "missed": self.missed,
            "problem": self.problem,
        }


def _tell(action: CorporateAction) -> str:
    kind = action.kind.value.replace("_", " ")
    return f"{action.instrument} {kind} at {to_iso(action.ts_event)}"
