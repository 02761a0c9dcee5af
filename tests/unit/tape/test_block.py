from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.tape.block import GENESIS, Record, decode_record, encode_block, split_records
from tests.support.tape_steps import make_session, payload_types, structs


@pytest.mark.parametrize("kind", payload_types(), ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_record_of_any_payload_type_comes_back_equal(kind: Any, data: st.DataObject) -> None:
    payload = data.draw(structs(kind))
    (encoded,) = split_records(encode_block(0, [(1, 2, 3, ((payload, 4, 5),))], GENESIS))
    record = decode_record(encoded)
    assert record == Record(1, 2, 3, [(payload, 4, 5)])
    assert type(record.events[0][0]) is kind


def test_digests_chain_as_the_format_says() -> None:
    """Naive twin: SHA-256 over the digest before and the msgpack array of the step."""
    session = make_session(orders=3)
    block = encode_block(7, session, GENESIS)
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
    block = encode_block(0, make_session(orders=3), GENESIS)
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
