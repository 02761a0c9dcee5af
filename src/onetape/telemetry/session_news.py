"""What an operator wants to hear of a session, event by event: the lines of its log.

Not everything that stands on the tape is news: bars, intents and what goes as planned are not. What
repeats itself (denials of one strategy for one reason) is told at its 1st, 10th, 100th... time, so
that a strategy that asks without end does not bury what matters.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from onetape.domain.events import (
    BreakerRearmed,
    BreakerTripped,
    FeatureDrifted,
    KillSwitchSet,
    OrderAdopted,
    OrderCancelRejected,
    OrderDenied,
    OrderFilled,
    OrderRejected,
    OrderReplaceRejected,
    OrderUnknown,
    Payload,
    PositionAdjusted,
    SessionStarted,
    SessionStopped,
    StrategyQuarantined,
)
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import show_minor
from onetape.domain.timestamps import has_time, to_iso
from onetape.domain.venue import (
    ConnectionChanged,
    Discrepancy,
    DiscrepancyKind,
    OperatorCommand,
    SessionResumed,
)

_KEPT = 20
"""So many of the newest troubles are remembered."""


class Level(Enum):
    """How much an operator has to do with it: nothing, perhaps something, something."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class News(NamedTuple):
    """One line: when (ns UTC), which event of the tape (None: it is on none), and what it says."""

    ts: int
    seq: int | None
    level: Level
    kind: str
    text: str

    def __str__(self) -> str:
        when = f"{to_iso(self.ts)[:19]}Z" if has_time(self.ts) else "-"
        event = f" (event {self.seq})" if self.seq is not None else ""
        return f"{when:20} {self.level.value:7} {self.kind} {self.text}{event}"


class SessionNews:
    """Follows the events of one session.

    Args:
        instruments: Those of the session, which say what a tick and a lot are.

    Attributes:
        troubles: The newest warnings and errors, oldest first.
        outages: Since when (ns UTC) a connection is gone, and why, by (part, name).
        kill_reason: Why the kill switch was set last.
        quarantined: Why a strategy was taken out, by its name.
    """

    def __init__(self, instruments: Iterable[Instrument] = ()) -> None:
        self._instruments = {each.id: each for each in instruments}
        self._repeats: Counter[str] = Counter()
        self.troubles: deque[News] = deque(maxlen=_KEPT)
        self.outages: dict[tuple[str, str], tuple[int, str]] = {}
        self.kill_reason = ""
        self.quarantined: dict[str, str] = {}

    def take(self, ts: int, seq: int, payload: Payload) -> News | None:
        """What an event is to an operator; None: nothing new."""
        self._remember(ts, payload)
        found = self._tell(payload)
        if found is None:
            return None
        level, key, text = found
        if key:
            count = self._repeats[key] = self._repeats[key] + 1
            if count != 10 ** (len(str(count)) - 1):
                return None
            text += f", {count:,} times so far" if count > 1 else ""
        news = News(ts, seq, level, str(payload.__struct_config__.tag), _one_line(text))
        if level is not Level.INFO:
            self.troubles.append(news)
        return news

    def tell_passed(self, ts: int, why: str, *, is_first: bool) -> News:
        """The feed passes bars over; `is_first`: none has been taken yet, so that is trouble."""
        level = Level.WARNING if is_first else Level.INFO
        news = News(ts, None, level, "feed.passed_over", why)
        if is_first:
            self.troubles.append(news)
        return news

    def _remember(self, ts: int, payload: Payload) -> None:
        match payload:
            case ConnectionChanged() if not payload.instruments:
                key = (payload.part.value, payload.name)
                if payload.is_up:
                    self.outages.pop(key, None)
                else:
                    since = self.outages.get(key, (ts, ""))[0]
                    self.outages[key] = (since, _one_line(payload.reason))
            case SessionResumed():
                self.outages.clear()
            case KillSwitchSet():
                self.kill_reason = _one_line(payload.reason)
            case StrategyQuarantined():
                where = f" ({payload.where})" if payload.where else ""
                self.quarantined[payload.strategy] = _one_line(
                    f"{payload.callback}: {payload.error}{where}"
                )
            case _:
                pass

    def _tell(self, payload: Payload) -> tuple[Level, str, str] | None:
        """How bad, what counts as the same again (empty: nothing does), and the words."""
        match payload:
            case SessionStarted():
                names = ", ".join(payload.strategy_versions)
                return Level.INFO, "", f"session {payload.session} ({payload.mode}): {names}"
            case SessionResumed():
                return Level.WARNING, "", f"by onetape {payload.code_version}"
            case SessionStopped():
                return Level.INFO, "", payload.reason
            case ConnectionChanged():
                which = f" of {', '.join(payload.instruments)}" if payload.instruments else ""
                what = f"{payload.part.value} {payload.name}{which}"
                if payload.is_up:
                    return Level.INFO, "", f"{what} is up: {payload.reason}"
                return Level.ERROR, "", f"{what} is down: {payload.reason}"
            case OperatorCommand():
                whose = payload.strategy or "all strategies"
                return Level.WARNING, "", f"{payload.action.value} {whose}{_why(payload.reason)}"
            case KillSwitchSet():
                done = "set" if payload.active else "lifted"
                return Level.WARNING, "", f"kill switch {done}{_why(payload.reason)}"
            case Discrepancy():
                level = Level.WARNING if payload.is_resolved else Level.ERROR
                return level, "", self._tell_difference(payload)
            case PositionAdjusted():
                return Level.INFO, "", self._tell_adjusted(payload)
            case StrategyQuarantined():
                where = f" ({payload.where})" if payload.where else ""
                text = f"{payload.strategy} in {payload.callback}: {payload.error}{where}"
                return Level.ERROR, "", text
            case BreakerTripped():
                whose = payload.strategy or "the account"
                return Level.ERROR, "", (
                    f"breaker {payload.kind.value} of {whose}: {payload.actual:,.10g} against "
                    f"{payload.limit:,.10g} {payload.unit}; it does {payload.action.value}"
                )  # fmt: skip
            case BreakerRearmed():
                return Level.INFO, "", f"breaker {payload.kind.value} looks again"
            case OrderDenied():
                whose = f"{payload.strategy} {payload.instrument}".strip()
                return Level.WARNING, f"{whose} {payload.code.value}", (
                    f"{whose}: {payload.code.value}, "
                    f"{payload.actual:,.10g} against {payload.limit:,.10g} {payload.unit}"
                )  # fmt: skip
            case _:
                return self._tell_order(payload)

    def _tell_difference(self, found: Discrepancy) -> str:
        kind, instrument = found.kind.value, self._instruments.get(found.instrument)
        if found.kind is DiscrepancyKind.CASH and (found.ours or found.theirs):
            amounts = f"ours {show_minor(found.ours)}, theirs {show_minor(found.theirs)}"
            return f"{kind} {found.currency}: {amounts}"
        if found.kind is DiscrepancyKind.POSITION and instrument is not None and (
            found.ours or found.theirs
        ):  # fmt: skip
            ours, theirs = (
                f"{instrument.lots_to_quantity(each):f}" for each in (found.ours, found.theirs)
            )
            return f"{kind} {instrument.id}: ours {ours}, theirs {theirs}; {found.resolution}"
        of = found.client_order_id or found.instrument or found.currency
        return f"{kind} {of}: {found.resolution}"

    def _tell_adjusted(self, event: PositionAdjusted) -> str:
        instrument = self._instruments.get(event.instrument)
        lots = f"{event.lots} lots" if instrument is None else (
            f"{instrument.lots_to_quantity(event.lots):f}"
        )  # fmt: skip
        other = f", {event.received:+} lots of {event.other}" if event.other else ""
        kind = event.kind.value.replace("_", " ")
        return (
            f"{event.strategy}: {kind} of {event.instrument}, {lots} held{other}, "
            f"{show_minor(event.amount, '+')} cash"
        )

    def _tell_order(self, payload: Payload) -> tuple[Level, str, str] | None:
        match payload:
            case OrderRejected() | OrderCancelRejected() | OrderReplaceRejected():
                whose = payload.client_order_id.rpartition("-")[0]
                tag = str(payload.__struct_config__.tag)
                text = f"{payload.client_order_id}: {payload.code.value}, {payload.reason}"
                return Level.WARNING, f"{tag} {whose} {payload.code.value}", text
            case OrderAdopted():
                if payload.breaks is None:
                    return Level.INFO, "", f"{payload.client_order_id} by {payload.strategy}"
                return Level.WARNING, "", (
                    f"{payload.client_order_id} by {payload.strategy}; it breaks "
                    f"{payload.breaks.value}, {payload.actual:,.10g} against {payload.limit:,.10g} "
                    f"{payload.unit}"
                )  # fmt: skip
            case OrderUnknown():
                whose = payload.client_order_id.rpartition("-")[0]
                return Level.WARNING, f"unknown {whose}", f"{payload.client_order_id}: no answer"
            case OrderFilled():
                instrument = self._instruments.get(payload.instrument)
                if instrument is None:
                    return None
                return Level.INFO, "", (
                    f"{payload.client_order_id} {payload.side.name} "
                    f"{instrument.lots_to_quantity(payload.lots):f} {payload.instrument} at "
                    f"{instrument.ticks_to_price(payload.ticks):f}, "
                    f"{instrument.lots_to_quantity(payload.leaves):f} left"
                )  # fmt: skip
            case FeatureDrifted():
                key = f"{payload.strategy} {payload.instrument} {payload.feature} drifts"
                text = f"{key}: {payload.statistic} {payload.value:.3g} > {payload.threshold:.3g}"
                return Level.WARNING, key, text
            case _:
                return None


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


def _one_line(text: str) -> str:
    """Without line breaks and control characters, which a log can't show in a line."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
