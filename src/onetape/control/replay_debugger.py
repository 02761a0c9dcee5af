"""The debugger of `onetape replay --step`: a conversation, one command a line."""

from __future__ import annotations

import cmd
import sys
from collections.abc import Callable

from onetape.control.boundary import describe, print_error
from onetape.control.interrupts import stop_asked
from onetape.control.progress import live_progress
from onetape.control.replay_screen import (
    print_bars,
    print_books,
    print_features,
    print_links,
    print_orders,
    print_positions,
    print_state,
)
from onetape.control.terminal import print_table
from onetape.domain.errors import ConfigError, FixInput
from onetape.domain.events import Event
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import to_iso
from onetape.runtime.replay.vocabulary import build_vocabulary
from onetape.runtime.replay.walk import DECISIONS, FILLS, Walk
from onetape.tape.render import event_to_line

_PROMPT = "(replay) "
_LISTED = 10
"""Events that `list` shows unless told."""

_COMMANDS = (
    ("next", "n", "", "go to the next event"),
    ("row", "r", "", "go to the end of the next time slice (usually: the next bar)"),
    ("decision", "d", "", "go to the next decision: an intent or a signal"),
    ("fill", "f", "", "go to the next fill"),
    ("until", "u", "SEQ|TIME", "go behind an event, or all that was known at a time"),
    ("break", "b", "[CONDITION]", "stop where a condition becomes true; alone: show them"),
    ("delete", "x", "NUMBER", "forget a breakpoint"),
    ("continue", "c", "", "go on to the next breakpoint, or to the end"),
    ("positions", "p", "", "what is held, at the marks"),
    ("orders", "o", "", "open orders"),
    ("ledger", "l", "", "balances of the books"),
    ("features", "v", "", "feature values of the newest bars"),
    ("state", "s", "", "declared state of the strategies, and timers"),
    ("bar", "k", "", "the newest bars"),
    ("why", "w", "[SEQ]", "the chain of an event; of the newest decision unless told"),
    ("list", "t", "[COUNT]", "the newest events"),
    ("names", "m", "", "the names that a condition may use"),
    ("help", "h", "", "this list"),
    ("quit", "q", "", "leave"),
)


class Debugger(cmd.Cmd):
    """Reads commands from stdin, a terminal or not, and answers on stdout.

    Attributes:
        exit_code: What the process should end with.
    """

    def __init__(self, walk: Walk, on_departure: Callable[[], int]) -> None:
        super().__init__(stdin=sys.stdin, stdout=sys.stdout)
        self.use_rawinput = self._is_terminal = sys.stdin.isatty()
        self.prompt = _PROMPT if self._is_terminal else ""
        self._walk = walk
        self._on_departure = on_departure
        self._words = {form: word for word, letter, _, _ in _COMMANDS for form in (word, letter)}
        self._has_told = False
        self._reason = ""  # why it has stopped where it is
        self.exit_code = 0

    def preloop(self) -> None:
        """Say where it begins."""
        replay = self._walk.replay
        names = ", ".join(replay.surroundings.strategies)
        print(f"Session {replay.header.session} of {names}; `help` lists the commands.")
        self._show_place()

    def onecmd(self, line: str) -> bool:
        """Carry out one command; True: leave."""
        if line == "EOF":
            if self._is_terminal:
                print()
            return True
        if not self._is_terminal and line.strip():
            print(f"{_PROMPT}{line.strip()}")
        word, argument, _ = self.parseline(line)
        if word is None and not (line := line.strip()):
            return self.emptyline()
        typed = (word or line.split()[0]).lower()
        command = self._words.get(typed)
        if command is None:
            longer = [each for each, *_ in _COMMANDS if each.startswith(typed)]
            if len(longer) != 1:
                near = nearest(typed, [each for each, *_ in _COMMANDS])
                print(f"error: there is no command {typed!r} ({near}; `help` lists them)")
                return False
            command = longer[0]
        self.lastcmd = f"{command} {argument or ''}"
        try:
            return bool(getattr(self, f"_{command}")((argument or "").strip()))
        except FixInput as error:
            print(f"error: {describe(error)[0]}")
            return False

    def emptyline(self) -> bool:
        """Repeat the last command."""
        return self.onecmd(self.lastcmd) if self.lastcmd else False

    def completenames(self, text: str, *ignored: object) -> list[str]:
        """Commands that begin with what is typed."""
        return [word for word, *_ in _COMMANDS if word.startswith(text)]

    # Moving.

    def _next(self, argument: str) -> None:
        _no_argument("next", argument)
        self._move(self._walk.next_event, is_long=False)

    def _row(self, argument: str) -> None:
        _no_argument("row", argument)
        self._move(self._walk.next_slice, is_long=False)

    def _decision(self, argument: str) -> None:
        _no_argument("decision", argument)
        self._move(lambda: self._walk.next_kind(DECISIONS))

    def _fill(self, argument: str) -> None:
        _no_argument("fill", argument)
        self._move(lambda: self._walk.next_kind(FILLS))

    def _until(self, argument: str) -> None:
        goal = self._walk.replay.places.find(argument)
        self._move(lambda: self._walk.until(goal))

    def _continue(self, argument: str) -> None:
        _no_argument("continue", argument)

        def resume() -> bool:
            hit = self._walk.resume()
            if hit is not None:
                self._reason = f"breakpoint {hit.number}: {hit.condition.text}"
            return hit is not None

        self._move(resume)

    def _move(self, go: Callable[[], bool], *, is_long: bool = True) -> None:
        """Go, and tell where that is; a long way shows its progress."""
        walk = self._walk
        before = walk.event, walk.standing.seq
        self._reason = ""
        with stop_asked() as is_stop_asked, live_progress(quiet=not is_long) as on_progress:
            walk.is_stop_asked, walk.on_progress = is_stop_asked, on_progress
            arrived = go()
            interrupted = is_stop_asked()
        if self._reason:
            print(self._reason)
        if arrived or before != (walk.event, walk.standing.seq):
            self._show_place()
        if interrupted and not arrived:
            print("interrupted")
        elif not arrived:
            self._tell_end()

    def _tell_end(self) -> None:
        replay = self._walk.replay
        print(f"{replay.end}.")
        if replay.departure is not None and not self._has_told:
            self.exit_code = self._on_departure()
            self._has_told = True

    def _show_place(self) -> None:
        """The event, or the bars at the end of their slice."""
        walk = self._walk
        if walk.event is not None:
            print(event_to_line(walk.event))
        elif walk.standing.row < 0:
            print("before the first event")
        else:
            print(f"{walk.standing.seq:>9}  {to_iso(walk.standing.ts)}  end of the slice")
            print_bars(walk.replay.surroundings, walk.standing)

    # Breakpoints.

    def _break(self, argument: str) -> None:
        if argument:
            made = self._walk.add_breakpoint(argument)
            print(f"breakpoint {made.number}: {made.condition.text}")
        elif self._walk.breakpoints:
            for each in self._walk.breakpoints.values():
                print(f"breakpoint {each.number}: {each.condition.text}")
        else:
            print("No breakpoints.")

    def _delete(self, argument: str) -> None:
        if not argument.isdecimal():
            raise ConfigError("delete takes the number of a breakpoint", remedy="like: delete 1")
        self._walk.delete_breakpoint(int(argument))

    # Looking.

    def _positions(self, argument: str) -> None:
        print_positions(self._walk.replay.surroundings, self._walk.standing)

    def _orders(self, argument: str) -> None:
        print_orders(self._walk.replay.surroundings, self._walk.standing)

    def _ledger(self, argument: str) -> None:
        print_books(self._walk.replay.surroundings, self._walk.standing)

    def _features(self, argument: str) -> None:
        print_features(self._walk.replay.surroundings, self._walk.standing)

    def _state(self, argument: str) -> None:
        print_state(self._walk.standing)

    def _bar(self, argument: str) -> None:
        print_bars(self._walk.replay.surroundings, self._walk.standing)

    def _why(self, argument: str) -> None:
        now = self._walk.seq
        if argument and not argument.isdecimal():
            raise ConfigError(f"{argument!r} is no seq", remedy="like: why 137")
        if argument and int(argument) > now:
            raise ConfigError(f"event {argument} has not come yet: this is event {now}")
        seq = int(argument) if argument else self._newest_decision()
        print_links(self._walk.replay.why(seq, now), seq)

    def _newest_decision(self) -> int:
        found = self._walk.replay.places.newest_events(
            self._walk.seq, 1, lambda each: isinstance(each.payload, DECISIONS)
        )
        if not found:
            raise ConfigError("nothing has been decided yet", remedy="why SEQ tells of an event")
        return found[0].seq

    def _list(self, argument: str) -> None:
        if argument and not argument.isdecimal():
            raise ConfigError(f"{argument!r} is no number of events", remedy="like: list 20")
        found: list[Event] = self._walk.replay.places.newest_events(
            self._walk.seq, int(argument or _LISTED)
        )
        for each in found:
            print(event_to_line(each))
        if not found:
            print("No event yet.")

    def _names(self, argument: str) -> None:
        terms = build_vocabulary(self._walk.replay.surroundings)
        rows = [(name.replace("[", '["').replace("]", '"]'), term.kind.value)
                for name, term in terms.items()]  # fmt: skip
        print_table(("name", "is"), rows)

    def _help(self, argument: str) -> None:
        rows = [
            (f"{word} {taken}".strip(), letter, does) for word, letter, taken, does in _COMMANDS
        ]
        print_table(("command", "short", "what it does"), rows)
        print("An empty line repeats the last command. A condition: close > 100 and position == 0")

    def _quit(self, argument: str) -> bool:
        return True


def _no_argument(command: str, argument: str) -> None:
    if argument:
        raise ConfigError(f"{command} takes nothing behind it, not {argument!r}")


def run_debugger(walk: Walk, on_departure: Callable[[], int]) -> int:
    """Talk until the end of the input; returns the exit code."""
    debugger = Debugger(walk, on_departure)
    try:
        debugger.cmdloop()
    except KeyboardInterrupt:
        print_error("interrupted")
        return 130
    return debugger.exit_code
