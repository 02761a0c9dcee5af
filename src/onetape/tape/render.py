"""Events of a tape as text: one line for people, one JSON object for programs."""

from __future__ import annotations

import json
from enum import Enum, IntEnum
from typing import Any

import msgspec

from onetape.domain.events import Event
from onetape.domain.timestamps import has_time, to_iso

_PLAIN = frozenset({bool, float, int, str})


def event_to_line(event: Event) -> str:
    """One line: seq, time, type, source, the payload's fields, and where it comes from.

    `<- 12 of 10` reads: caused by seq 12, in the chain that seq 10 started.
    """
    fields = " ".join(f"{name}={_to_text(value)}" for name, value in fields_of(event).items())
    when = to_iso(event.ts_event) if has_time(event.ts_event) else "-"
    chain = f" <- {event.causation_id} of {event.correlation_id}" if event.causation_id else ""
    return f"{event.seq:>9}  {when}  {event.type:<24} {_to_text(event.source):<16} {fields}{chain}"


def event_to_json(event: Event) -> dict[str, Any]:
    """The event as plain JSON values; enums by name, times both in ns and as ISO text.

    Prices are ticks, quantities lots and money minor units (1e-8), as on the tape.
    """
    return {
        "seq": event.seq,
        "ts_event": event.ts_event,
        "ts_ingest": event.ts_ingest,
        "time": to_iso(event.ts_event),
        "type": event.type,
        "source": event.source,
        "payload": fields_of(event),
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "version": event.version,
    }


def fields_of(event: Event) -> dict[str, Any]:
    """The payload's fields as plain JSON values, enums by name."""
    return {name: _to_plain(value) for name, value in msgspec.structs.asdict(event.payload).items()}


def _to_plain(value: Any) -> Any:
    if type(value) in _PLAIN:
        return value
    match value:
        case IntEnum():
            return value.name
        case Enum():
            return value.value
        case _:
            return msgspec.to_builtins(value)


def _to_text(value: Any) -> str:
    """`value` on one line; text is quoted where a blank or control character could mislead."""
    if isinstance(value, str) and value.isprintable() and value and " " not in value:
        return value
    return json.dumps(value)
