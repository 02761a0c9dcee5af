"""What only sessions with inputs from outside do."""

from __future__ import annotations

import onetape
from onetape.domain.venue import ConnectionChanged, ConnectionPart, SessionResumed
from onetape.tape.store import MemoryTape
from tests.parity.test_realtime import open_realtime
from tests.support.random_strategies import make_world


def test_process_that_goes_on_has_no_connections_that_are_gone() -> None:
    """Else one that is never told again would pause the session for ever."""
    world = make_world(1)
    session = open_realtime(world, MemoryTape())
    session.start(1)
    session.take(ConnectionChanged(ConnectionPart.FEED, "alpaca (silence)", False, "silent"), 2)
    assert session.pipeline.down == [("feed", "alpaca (silence)")]
    assert session.state_of("s0") == "paused"
    session.take(SessionResumed(onetape.__version__, {}), 3)
    assert session.pipeline.down == []
    assert session.state_of("s0") == "running"
