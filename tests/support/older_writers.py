"""Tapes as an onetape would have written them before payloads got their newest fields."""

from __future__ import annotations

from typing import Any

import msgspec

from onetape.domain.events import Payload
from onetape.tape.envelope import TYPES

_KINDS = {tag: kind for kind, tag in TYPES.items()}


def without_defaults(payload: Payload) -> list[Any]:
    """What stands on the tape, without the last fields, as long as they have their defaults."""
    raw = msgspec.msgpack.decode(msgspec.msgpack.encode(payload))
    defaults = _KINDS[raw[0]].__struct_defaults__
    for default in reversed(defaults):
        is_default = type(raw[-1]) is type(default) and raw[-1] == default
        if default is msgspec.NODEFAULT or not is_default:
            break
        raw.pop()
    return raw


def older_record(data: bytes) -> bytes:
    """The same record by the older writer."""
    first_seq, ts, market_index, events = msgspec.msgpack.decode(data)
    kept = []
    for raw, *ids in events:
        payload = msgspec.convert(raw, _KINDS[raw[0]])
        kept.append([without_defaults(payload), *ids])
    return msgspec.msgpack.encode([first_seq, ts, market_index, kept])


def cut_fields(data: bytes, tag: str, count: int) -> bytes:
    """The record with the last `count` fields of its payloads of type `tag` lost."""
    first_seq, ts, market_index, events = msgspec.msgpack.decode(data)
    for event in events:
        if event[0][0] == tag:
            del event[0][-count:]
    return msgspec.msgpack.encode([first_seq, ts, market_index, events])
