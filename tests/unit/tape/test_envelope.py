from __future__ import annotations

from onetape.domain.orders import Intent
from onetape.tape.envelope import SOURCES, TYPES
from tests.support.tape_steps import payload_types


def test_every_payload_type_has_a_source() -> None:
    of_strategies = {kind for kind in payload_types() if kind not in SOURCES}
    assert {kind.__name__ for kind in of_strategies} == {
        *(kind.__name__ for kind in Intent.__args__),
        "SignalRecorded",
    }
    assert all("strategy" in kind.__struct_fields__ for kind in of_strategies)


def test_event_types_are_unique_and_start_with_their_family() -> None:
    assert set(TYPES) == set(payload_types())
    assert len(set(TYPES.values())) == len(TYPES)
    families = {name.partition(".")[0] for name in TYPES.values()}
    assert families == {
        "session", "account", "intent", "risk", "order", "position", "timer", "control",
        "signal", "failure", "market", "feature", "connection", "venue", "contract",
    }  # fmt: skip
