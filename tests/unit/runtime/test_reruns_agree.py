"""Whether a second re-run parts from the tape where the first one did: else it is chance."""

from __future__ import annotations

import math

from onetape.domain.events import Event, SignalRecorded
from onetape.runtime.verification import Difference, _is_as_rerun


def event(seq: int, value: float) -> Event:
    payload = SignalRecorded("s", "score", value)
    return Event(seq=seq, ts_event=1, ts_ingest=1, type="signal.recorded", source="strategy:s",
                 payload=payload, correlation_id=0, causation_id=0)  # fmt: skip


def test_same_event_is_the_same_even_if_it_is_no_number() -> None:
    parted = Difference(record=3, tape=event(7, 1.0), rerun=event(7, math.nan))
    assert _is_as_rerun(parted, [event(6, 0.0), event(7, math.nan)])
    assert not _is_as_rerun(parted, [event(6, 0.0), event(7, 2.0)])


def test_rerun_that_has_fewer_events_agrees_with_one_that_has_them_not_either() -> None:
    parted = Difference(record=3, tape=event(7, 1.0), rerun=None)
    assert _is_as_rerun(parted, [event(6, 0.0)])
    assert _is_as_rerun(parted, [])
    assert not _is_as_rerun(parted, [event(6, 0.0), event(7, 1.0)])
