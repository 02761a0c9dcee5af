from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.events import DatasetPin, Event, OrderDenied, StrategyQuarantined
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import DenialCode
from onetape.tape.block import Record
from onetape.tape.envelope import expand
from onetape.tape.render import event_to_json, event_to_line
from tests.support.tape_steps import AAPL, STARTED, make_order_step, payloads


def make_events(payload: object, seq: int = 7) -> Event:
    (event,) = expand(Record(seq, 1_600_000_000_500_000_000, 0, [(payload, 5, 6)]))  # type: ignore[list-item]
    return event


def test_line_of_an_intent_shows_time_source_fields_and_chain() -> None:
    first_seq, ts, index, events = make_order_step(12, 1)
    intent, *_ = expand(Record(first_seq, ts, index, list(events)))
    assert event_to_line(intent) == (
        "       12  2020-09-13T12:27:40Z  intent.order             strategy:sma_cross "
        "strategy=sma_cross intent=1 instrument=AAPL.XNAS side=BUY basis=LOTS amount=100 "
        "order_type=LIMIT time_in_force=GTC limit_ticks=10001 stop_ticks=0 ts_expire=0 "
        'reduce_only=false label="" conditions=null <- 11 of 11'
    )


def test_line_of_a_denial_shows_the_numbers() -> None:
    denied = OrderDenied("sma", 3, AAPL, DenialCode.LEVERAGE, 1.25, 1.0, "ratio")
    line = event_to_line(make_events(denied))
    assert line.startswith("        7  2020-09-13T12:26:40.5Z  risk.denied ")
    assert line.endswith("code=leverage actual=1.25 limit=1.0 unit=ratio <- 6 of 5")


def test_line_quotes_texts_with_blanks_and_newlines() -> None:
    failure = StrategyQuarantined("s", "on_bar", "line 1\nline 2", "a b.py:3")
    line = event_to_line(make_events(failure))
    assert r'error="line 1\nline 2" where="a b.py:3"' in line
    assert "\n" not in line


def test_json_holds_plain_values_and_both_kinds_of_time() -> None:
    pin = DatasetPin(
        instrument=InstrumentId("AAPL.XNAS"), timeframe="1d", table_version=3, content_hash="ab",
        rows=10, ts_first=1, ts_last=2,
    )  # fmt: skip
    started = msgspec.structs.replace(STARTED, datasets=[pin])
    plain = event_to_json(make_events(started))
    assert plain["time"] == "2020-09-13T12:26:40.5Z"
    assert (plain["seq"], plain["ts_event"], plain["type"]) == (
        7, 1_600_000_000_500_000_000, "session.started",
    )  # fmt: skip
    assert (plain["correlation_id"], plain["causation_id"], plain["version"]) == (5, 6, 1)
    assert plain["payload"]["datasets"][0]["table_version"] == 3
    assert plain["payload"]["strategy_versions"] == {"sma_cross": "1"}


@given(payload=payloads(), seq=st.integers(1, 2**40))
def test_every_event_renders_as_one_line_and_as_json(payload: object, seq: int) -> None:
    event = make_events(payload, seq)
    assert len(event_to_line(event).splitlines()) == 1
    text = json.dumps(event_to_json(event))
    assert json.loads(text)["payload"].keys() == set(type(payload).__struct_fields__)
