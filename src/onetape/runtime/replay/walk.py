"""Going through a replay event by event: steps, places to run to, and conditions to stop at."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, get_args

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    Event,
    OrderFilled,
    OrderPartiallyFilled,
    SignalRecorded,
    StrayFilled,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import Intent
from onetape.runtime.replay.condition import Condition, compile_condition
from onetape.runtime.replay.places import Goal
from onetape.runtime.replay.session import Moment, Replay
from onetape.runtime.replay.standing import Standing
from onetape.runtime.replay.vocabulary import EVENT_NAMES, Place, build_vocabulary
from onetape.runtime.sessions.backtest import OnProgress

DECISIONS = (*get_args(Intent), SignalRecorded)
"""What a strategy decides: intents, and signals."""
_SLICES_TOLD = 500
"""Time slices between two words about the progress."""
FILLS = (OrderFilled, OrderPartiallyFilled, StrayFilled)


class Breakpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A condition at which a walk stops. `number` counts from 1 and never comes again."""

    number: int
    condition: Condition[Place]

    @property
    def is_of_events(self) -> bool:
        """Whether it speaks of single events; then each one stops, else where it becomes true."""
        return bool(self.condition.names & EVENT_NAMES)


class Walk:
    """A place in a replay that moves on. It has to have begun, and nobody else may move it.

    Attributes:
        standing: The state at the place.
        event: The event that it has come to; None: the end of a time slice, or the start.
        moment: The step or slice that this is in.
        breakpoints: Those that are set, by number.
        is_stop_asked: Asked on the way; a yes ends it between two slices.
        on_progress: Told on the way, where it is set.
    """

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self._vocabulary = build_vocabulary(replay.surroundings)
        self._pending: deque[tuple[Moment, Event | None]] = deque()
        self.breakpoints: dict[int, Breakpoint] = {}
        self.is_stop_asked: Callable[[], bool] = lambda: False
        self.on_progress: OnProgress | None = None
        self._count = self._slices = 0
        self._held: dict[int, dict[InstrumentId, bool]] = {}
        self._orders: dict[str, tuple[InstrumentId, str]] = {}
        self._enter(None, None, replay.standing())

    @property
    def is_over(self) -> bool:
        """Whether nothing follows any more."""
        return not self._pending and bool(self.replay.end)

    # Steps. Each says whether it has got there; else the replay has come to its end.

    def next_event(self) -> bool:
        """Go to the next event."""
        return self._go(lambda _: self.event is not None)

    def next_slice(self) -> bool:
        """Go to the end of the next time slice."""
        return self._go(lambda moment: not moment.events)

    def next_kind(self, kinds: tuple[type[Any], ...]) -> bool:
        """Go to the next event whose payload is of one of `kinds`.

        Raises:
            ConfigError: The tape has none any more; the walk has not moved.
        """
        places = self.replay.places
        wanted = places.next_event(self.seq, lambda each: isinstance(each.payload, kinds))
        if wanted is None:
            raise ConfigError("there is none between here and the end of the tape")
        return self.until(places.find(str(wanted.seq)))

    def until(self, goal: Goal) -> bool:
        """Go to a place, not looking at breakpoints.

        Raises:
            ConfigError: It lies behind; the walk has not moved.
        """
        is_here = goal.ts is not None and self.standing.ts <= goal.ts
        if not is_here and (goal.ts is not None or self.seq > (goal.seq or 0)):
            raise ConfigError(
                f"{goal.text} lies behind: this is event {self.seq}, and a replay only goes "
                "forward",
                remedy="begin again with --until",
            )
        if goal.row > self.replay.row:
            self._pending.clear()  # all of it is of rows before the goal
            with self.replay.watching():
                self.replay.run_to(goal.row, self.on_progress, self.is_stop_asked)
            self._enter(None, None, self.replay.standing())
            if self.replay.end or self.replay.row < goal.row:
                return False
        if goal.ts is not None:
            return self._go_until_time(goal.ts)
        if self.seq == goal.seq:
            return True
        return self._go(lambda _: self.seq >= (goal.seq or 0))

    def _go_until_time(self, ts: int) -> bool:
        """Take everything up to `ts`, and nothing of what follows."""
        with self.replay.watching():
            while not self.is_stop_asked() and self._fill():
                moment, event = self._pending[0]
                if moment.standing.ts > ts:
                    return True
                self._pending.popleft()
                self._enter(moment, event, moment.standing)
        return bool(self.replay.end) and not self._pending and self.replay.departure is None

    def resume(self) -> Breakpoint | None:
        """Go on to the next breakpoint; None: the end, or asked to stop."""
        stopped: list[Breakpoint] = []
        # What is true already does not become true.
        self._held = {
            each.number: {
                name: each.condition.holds(Place(standing=self.standing, instrument=name))
                for name in self.replay.surroundings.instruments
            }
            for each in self.breakpoints.values()
        }

        def is_hit(_: Moment) -> bool:
            stopped.extend(self._hit())
            return bool(stopped)

        self._go(is_hit)
        return stopped[0] if stopped else None

    # Breakpoints.

    def add_breakpoint(self, text: str) -> Breakpoint:
        """Stop where a condition becomes true, or, if it is about events, at each such event.

        Raises:
            ConfigError: It can't be understood; see `compile_condition`.
        """
        condition = compile_condition(text, self._vocabulary)
        self._count += 1
        made = Breakpoint(number=self._count, condition=condition)
        self.breakpoints[made.number] = made
        return made

    def delete_breakpoint(self, number: int) -> None:
        """Forget one.

        Raises:
            ConfigError: There is none of that number.
        """
        if number not in self.breakpoints:
            known = ", ".join(map(str, self.breakpoints)) or "none"
            raise ConfigError(f"there is no breakpoint {number}", remedy=f"set: {known}")
        del self.breakpoints[number]

    def _hit(self) -> list[Breakpoint]:
        """The breakpoints that the place hits; remembers what is true here."""
        found: list[Breakpoint] = []
        places = list(self._places())
        for each in self.breakpoints.values():
            held = self._held[each.number]
            is_hit = False
            for place in places:
                holds = each.condition.holds(place)
                if each.is_of_events:
                    is_hit |= holds and place.event is not None
                else:
                    is_hit |= holds and not held.get(place.instrument, False)
                    held[place.instrument] = holds
            found += [each] if is_hit else []
        return found

    def _places(self) -> Iterator[Place]:
        """The current event with its instrument, or each row of the slice that has ended."""
        surroundings = self.replay.surroundings
        event, standing = self.event, self.standing
        if event is not None:
            instrument, strategy = self._subject_of(event)
            yield Place(standing=standing, event=event, instrument=instrument, strategy=strategy)
        elif self.moment is not None:
            first, stop = self.moment.rows
            for row in range(first, stop):
                instrument = surroundings.instrument_at(row)
                yield Place(standing=standing, instrument=instrument)

    def _subject_of(self, event: Event) -> tuple[InstrumentId, str]:
        """The instrument (of the newest bar where it names none) and strategy of an event."""
        payload: Any = event.payload
        newest = self.replay.surroundings.instrument_at(max(self.standing.row, 0))
        known = self._orders.get(getattr(payload, "client_order_id", ""), (newest, ""))
        instrument: InstrumentId | None = getattr(payload, "instrument", None)
        return instrument or known[0], getattr(payload, "strategy", known[1])

    # How it moves.

    @property
    def seq(self) -> int:
        """Where this is: the seq of the event, or of the newest thing at the end of a slice."""
        return self.event.seq if self.event is not None else self.standing.seq

    def _go(self, is_there: Callable[[Moment], bool]) -> bool:
        """Enter one place after the other until it `is_there`."""
        with self.replay.watching():
            while self._pending or (not self.is_stop_asked() and self._fill()):
                moment, event = self._pending.popleft()
                self._enter(moment, event, moment.standing)
                if is_there(moment):
                    return True
        return False

    def _fill(self) -> bool:
        """Have something that follows; False at the end."""
        while not self._pending and not self.replay.end:
            self._slices += 1
            if self.on_progress is not None and self._slices % _SLICES_TOLD == 0:
                self.on_progress(self.replay.progress())
            for moment in self.replay.take():
                places = moment.events or (None,)
                self._pending.extend((moment, event) for event in places)
        return bool(self._pending)

    def _enter(self, moment: Moment | None, event: Event | None, standing: Standing) -> None:
        self.moment, self.event, self.standing = moment, event, standing
        for each in standing.orders:  # one that is closed later has still been here
            self._orders[each.client_order_id] = (each.instrument, each.strategy)
