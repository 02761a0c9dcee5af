from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.events import OrderDenied, OrderSubmitted, Payload, SignalRecorded
from onetape.domain.orders import DenialCode, OrderType, Side, TimeInForce
from onetape.tape.block import (
    GENESIS,
    Record,
    decode_record,
    encode_record,
    is_same_record,
    split_records,
)
from tests.support.older_writers import cut_fields, older_record
from tests.support.tape_steps import AAPL, block_of, make_session, payload_types, structs


@pytest.mark.parametrize("kind", payload_types(), ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_record_of_any_payload_type_comes_back_equal(kind: Any, data: st.DataObject) -> None:
    payload = data.draw(structs(kind))
    (encoded,) = split_records(block_of(0, [(1, 2, 3, ((payload, 4, 5),))], GENESIS))
    record = decode_record(encoded)
    assert record == Record(1, 2, 3, [(payload, 4, 5)])
    assert type(record.events[0][0]) is kind


def test_digests_chain_as_the_format_says() -> None:
    """Naive twin: SHA-256 over the digest before and the msgpack array of the step."""
    session = make_session(orders=3)
    block = block_of(7, session, GENESIS)
    digest = sha256(b"onetape tape 1").digest()
    expected = b""
    for step in session:
        digest = sha256(digest + msgspec.msgpack.encode(list(step))).digest()
        expected += digest
    assert (block.number, block.records, block.digests) == (7, 5, expected)
    assert (block.first_seq, block.last_seq) == (1, 17)
    assert (block.ts_first, block.ts_last) == (session[0][1], session[-1][1])


@pytest.mark.parametrize(
    "change",
    [
        {"records": 0},
        {"records": -1},
        {"records": 4},
        {"lengths": b""},
        {"digests": b"\0" * 31},
        {"payload": b""},
    ],
    ids=str,
)
def test_split_of_a_block_whose_parts_do_not_fit_raises(change: dict[str, Any]) -> None:
    block = block_of(0, make_session(orders=3), GENESIS)
    with pytest.raises(DataError, match="don't fit together"):
        list(split_records(msgspec.structs.replace(block, **change)))


@pytest.mark.parametrize(
    "value",
    [
        [1, 2, 3, []],
        [1, 2, 3, [[["order.of_tomorrow", 1], 0, 0]]],
        [1, 2, 3],
        ["1", 2, 3, [[["signal", "s", "n", 1.0], 0, 0]]],
        None,
    ],
    ids=["no_events", "unknown_type", "too_short", "text_seq", "nothing"],
)
def test_decode_of_what_is_no_record_raises(value: object) -> None:
    with pytest.raises(DataError, match="a record can't be read"):
        decode_record(msgspec.msgpack.encode(value))


# A record by an older writer, which knew fewer fields.


def submitted(**last: Any) -> OrderSubmitted:
    return OrderSubmitted("s-1", "s", AAPL, Side.BUY, OrderType.MARKET, TimeInForce.GTC, 1, 0, 0, 0,
                          **last)  # fmt: skip


def denied(actual: float) -> OrderDenied:
    return OrderDenied("s", 1, AAPL, DenialCode.LEVERAGE, actual, 2.0, "times equity")


def record_of(*payloads: Payload) -> bytes:
    return encode_record((1, 2, 3, [(each, 4, 5) for each in payloads]))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_record_of_an_older_writer_says_the_same(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(payload_types()), min_size=1, max_size=4))
    new = record_of(*(data.draw(structs(kind)) for kind in kinds))
    old = older_record(new)
    assert is_same_record(new, old)
    assert is_same_record(old, new)
    assert decode_record(old) == decode_record(new)


def test_record_of_an_older_writer_has_other_bytes() -> None:
    new = record_of(submitted())
    count = len(OrderSubmitted.__struct_defaults__)
    assert older_record(new) == cut_fields(new, "order.submitted", count) != new


NAN, ZERO = float("nan"), SignalRecorded("s", "score", 0.0)
# fmt: off
MEANINGS: list[tuple[str, bytes, bytes, bool]] = [
    # what                     one                                   other                    same
    ("a default left out",     record_of(submitted()),
                               cut_fields(record_of(submitted()), "order.submitted", 1),     True),
    ("three left out",         record_of(submitted()),
                               cut_fields(record_of(submitted()), "order.submitted", 3),     True),
    ("a value left out",       record_of(submitted(reduce_only=True)),
                               cut_fields(record_of(submitted()), "order.submitted", 1),     False),
    ("beside NaN",             record_of(submitted(), denied(NAN)),
                               older_record(record_of(submitted(), denied(NAN))),            True),
    ("NaN became a number",    record_of(submitted(), denied(1.0)),
                               older_record(record_of(submitted(), denied(NAN))),            False),
    ("a whole float as int",   record_of(denied(3)), record_of(denied(3.0)),                 True),
    ("minus zero",             record_of(ZERO),
                               record_of(msgspec.structs.replace(ZERO, value=-0.0)),         False),
    ("another type",           record_of(ZERO), record_of(submitted()),                      False),
    ("an event more",          record_of(ZERO), record_of(ZERO, ZERO),                       False),
    ("another time",           record_of(ZERO), encode_record((1, 3, 3, [(ZERO, 4, 5)])),    False),
    ("another cause",          record_of(ZERO), encode_record((1, 2, 3, [(ZERO, 4, 6)])),    False),
]
# fmt: on


@pytest.mark.parametrize(
    ("one", "other", "same"), [row[1:] for row in MEANINGS], ids=[row[0] for row in MEANINGS]
)
def test_records_are_compared_by_what_they_say(one: bytes, other: bytes, same: bool) -> None:
    assert is_same_record(one, other) == same
    assert is_same_record(other, one) == same
    assert is_same_record(one, one)


def test_record_that_lost_a_field_that_has_no_default_raises() -> None:
    whole = record_of(ZERO)
    with pytest.raises(DataError, match="can't be read"):
        is_same_record(whole, cut_fields(whole, "signal", 1))
