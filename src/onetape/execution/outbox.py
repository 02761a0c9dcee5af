"""A real venue as the core sees it: commands go out, and reports come back as inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from onetape.domain.events import OrderReport, OrderSubmitted, VenueCommand
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar
from onetape.domain.numbers import INT64_MAX
from onetape.domain.ports import AccountView


class VenueOutbox:
    """Keeps the commands of the session until the shell takes them, once the tape has them.

    It answers nothing by itself: nothing is ever due here, and it never fills.

    Attributes:
        next_arrival: Never.
        active: None.
        waiting: Commands in the order in which they left the core.
        strays: Orders that are closed here and open there, to be canceled.
    """

    __slots__ = ("active", "next_arrival", "strays", "waiting")

    def __init__(self) -> None:
        self.next_arrival = INT64_MAX
        self.active = 0
        self.waiting: list[VenueCommand] = []
        self.strays: list[OrderSubmitted] = []

    def take(self) -> list[VenueCommand]:
        """The commands that wait; they wait no longer."""
        taken, self.waiting = self.waiting, []
        return taken

    def take_strays(self) -> list[OrderSubmitted]:
        """The strays; they wait no longer."""
        taken = list(self.strays)
        self.strays.clear()
        return taken

    def receive(self, commands: Sequence[VenueCommand], now: int) -> None:
        """Commands leave the core."""
        self.waiting += commands

    def arrive(
        self,
        ts: int,
        last_close: Callable[[InstrumentId], int],
        session_close: Callable[[InstrumentId], int],
    ) -> Iterable[OrderReport]:
        """Nothing arrives here."""
        return ()

    def cancel_all(
        self, instrument: InstrumentId, reason: str, strategy: str = ""
    ) -> Iterable[OrderReport]:
        """A real venue cancels when it is asked, by a command."""
        return ()

    def on_bar(self, bar: Bar, account: AccountView) -> Iterable[OrderReport]:
        """A real venue does not fill by our bars."""
        return ()
