"""A paper or live session that runs again from the inputs on its tape, as a replay pulls it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onetape.domain.ports import TapeWriter
from onetape.runtime.live_runner import LiveRunner
from onetape.runtime.sessions.live_inputs import give, read_inputs
from onetape.runtime.sessions.live_run import open_session
from onetape.runtime.sessions.realtime import RealtimeSession
from onetape.runtime.sessions.recorded import RecordedSession


class RecordedInputs:
    """A realtime session and what is left of its inputs.

    Reports, looks, commands and news of connections come before the slice that follows them.

    Args:
        recorded: The session.
        tape: Where it writes.
        records: Of its tape.

    Attributes:
        session: The session.
    """

    def __init__(
        self, recorded: RecordedSession, tape: TapeWriter, records: Iterable[bytes]
    ) -> None:
        self.session: RealtimeSession = open_session(
            recorded.config, recorded.specs, recorded.header.instruments, tape, recorded.header,
            ts_start=0,
        )  # fmt: skip
        self._coming = read_inputs(records)

    @property
    def row(self) -> int:
        """The next row to process."""
        return self.session.rows

    @property
    def runners(self) -> Mapping[str, LiveRunner]:
        """The strategies."""
        return self.session.runners

    def start(self) -> None:
        """The first step."""
        give(self.session, next(self._coming))

    def advance(self, stop: int) -> None:
        """Process the rows up to `stop` (not included), and what comes before each of them."""
        while self.row < stop and (each := next(self._coming, None)) is not None:
            give(self.session, each)

    def finish(self) -> None:
        """What comes behind the last row."""
        for each in self._coming:
            give(self.session, each)
