"""One run of a set in compiled code, a stretch of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from onetape.domain.errors import InvariantBroken
from onetape.domain.ports import EncodedTapeWriter
from onetape.domain.rule_compiler import Packed
from onetape.runtime.compiled.event_layout import Layout, Told
from onetape.runtime.compiled.python_strategy import PythonStrategy
from onetape.runtime.compiled.record_writer import RecordWriter
from onetape.runtime.compiled.state import LOG_WIDTH
from onetape.runtime.set_outcome import GivenUp

STRETCH_ROWS = 1 << 16
"""Rows after which a recorded run comes back at the latest: it may be asked to stop there."""

PAUSE_EVENTS = 4096
"""Rows of the log at which it is written; it is small enough to stay in the cache."""

SLOT_EVENTS = 16
"""Rows behind the pause for each order slot: what a step begins there must fit in."""

OnStretch = Callable[[int], None]
"""Told how many rows are done."""


class NoRoom(Exception):
    """More orders, intents or events than there are slots for."""


class Attempt:
    """A session in compiled code: where it stands, and how it goes on.

    Args:
        run: The compiled loop.
        engine: The session.
        state: Params and state of the strategy.
        context: What the strategy gets as `ctx`.
    """

    def __init__(
        self,
        run: Callable[..., None],
        engine: Packed,
        state: Packed | PythonStrategy,
        context: object,
    ) -> None:
        self.engine = engine
        self.state = state
        self._run = run
        self._context = context

    def advance(self, stop: int) -> None:
        """Go on to the row `stop` (not included), or until the log is full enough.

        Raises:
            NoRoom: There are too few slots.
            GivenUp: The strategy asks for what compiled code can't give.
            InvariantBroken: A promise of ours does not hold.
        """
        self.engine.write("stop_row", stop)
        try:
            self._run(self.engine, self.state, self._context)
        except MemoryError as error:
            raise NoRoom(str(error)) from error
        except RuntimeError as error:
            raise InvariantBroken(f"the compiled host: {error}") from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise GivenUp(f"{type(error).__name__}: {error}") from error

    def record(
        self, layouts: Mapping[int, Layout | Told], tape: EncodedTapeWriter, on_stretch: OnStretch
    ) -> None:
        """Run it from the first to the last row, and write every step to `tape`.

        Args:
            layouts: What its events are on the tape.
            tape: Where they go.
            on_stretch: Told after each stretch.

        Raises:
            NoRoom, GivenUp, InvariantBroken: As `advance`; whole stretches are on the tape.
        """
        engine = self.engine
        slots = engine.read("slots")
        log_rows = PAUSE_EVENTS + SLOT_EVENTS * slots
        log = np.zeros(log_rows * LOG_WIDTH, dtype=np.int64)
        engine.write("log", log)
        engine.write("log_rows", log_rows)
        engine.write("log_pause", PAUSE_EVENTS)
        engine.write("logs", True)
        writer = RecordWriter(layouts, slots, log)
        rows, done = engine.read("rows"), -1
        while done < rows:
            self.advance(0 if done < 0 else min(done + STRETCH_ROWS, rows))
            tape.append_encoded(writer.write(engine.read("log_count")))
            engine.write("log_count", 0)
            if done < 0:
                tape.commit()  # whatever happens now, the tape says what session it was
            done = engine.read("row") + 1
            if done:
                on_stretch(done)
        tape.commit()
        tape.check_over()
