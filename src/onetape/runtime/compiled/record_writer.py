"""Writes the log of a session as records of the tape: ids, then MessagePack, in compiled code.

A layout (`event_layout.py`) becomes a short program that copies fixed bytes and puts numbers in
between, so that what is written is what `encode_record` makes of the same payloads.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.checked import NAMES
from onetape.domain.errors import InvariantBroken
from onetape.domain.ports import EncodedSteps
from onetape.domain.rule_compiler import Packed, RecordType, get_fields
from onetape.runtime.compiled.byte_columns import SLACK, copy_slack, put_big_endian
from onetape.runtime.compiled.compiling import compiled, compute_code_hash, entry_point
from onetape.runtime.compiled.engine import LOG_KINDS, LOG_STEP
from onetape.runtime.compiled.event_layout import (
    ALONE,
    BOOKED,
    CHANGES,
    DECIDED,
    REPORTED,
    SUBMITS,
    Choice,
    Const,
    Layout,
    Numbered,
    Told,
    Word,
)
from onetape.runtime.compiled.state import LOG_WIDTH

globals().update(NAMES)

_ALONE, _DECIDED, _SUBMITS, _CHANGES, _REPORTED, _BOOKED = (
    ALONE, DECIDED, SUBMITS, CHANGES, REPORTED, BOOKED,
)  # fmt: skip
_STEP = LOG_STEP
_FIXED, _NUMBER, _NUMBERED, _CHOICE, _TOLD = range(5)
_OP_WORDS = 4
_FIELDS = 3
"""Where the numbers of an event begin in its row."""

_TEXT_NUMBER_BYTES = 20
_TOLD_BYTES = 1 << 16
_EVENT_BYTES = 1 + 9 + 9
"""Around a payload: the array of three, and the two ids."""
_STEP_BYTES = 1 + 9 + 9 + 9 + 5
_STEP_FIELDS = 4
"""Of a written step: where its record ends, first seq, number of events, time."""

Ints = Annotated[list[int], "slots"]
IntColumn = Annotated[list[int], "column"]
ByteColumn = Annotated[list[int], "bytes"]


class Writer:
    """Where the numbering stands, and what is to be written.

    `order_*` have an item an order slot of the engine. `program` has `_OP_WORDS` an operation and
    `program_starts` where each kind's begin; `choices` are (start, length) in `fixed`, where all
    fixed bytes are. `told` are the payloads that Python has made, `told_ends` where each ends.
    """

    emitted: int
    newest: int
    market_seq: int
    order_correlation: Ints
    order_causation: Ints
    causes: Ints
    program: Ints
    program_starts: Ints
    choices: Ints
    fixed: ByteColumn
    log: IntColumn
    rows: int
    told: ByteColumn
    told_ends: IntColumn
    out: ByteColumn
    steps: IntColumn


@compiled
def put_head(writer: Writer, at: int, code: int, value: int, size: int) -> int:
    """A format byte and a number of `size` bytes, the highest first."""
    writer.out[at] = code
    put_big_endian(writer.out, at + 1, value, size)
    return at + size + 1


@compiled
def put_number(writer: Writer, at: int, value: int) -> int:
    """A whole number in as few bytes as MessagePack has for it."""
    if -32 <= value <= 127:
        writer.out[at] = value & 0xFF
        return at + 1
    if value >= 0:
        if value <= 0xFF:
            return put_head(writer, at, 0xCC, value, 1)
        if value <= 0xFFFF:
            return put_head(writer, at, 0xCD, value, 2)
        if value <= 0xFFFFFFFF:
            return put_head(writer, at, 0xCE, value, 4)
        return put_head(writer, at, 0xCF, value, 8)
    if value >= -0x80:
        return put_head(writer, at, 0xD0, value, 1)
    if value >= -0x8000:
        return put_head(writer, at, 0xD1, value, 2)
    if value >= -0x80000000:
        return put_head(writer, at, 0xD2, value, 4)
    return put_head(writer, at, 0xD3, value, 8)


@compiled
def put_array_head(writer: Writer, at: int, count: int) -> int:
    """The head of an array of so many items."""
    if count < 16:
        writer.out[at] = 0x90 | count
        return at + 1
    if count <= 0xFFFF:
        return put_head(writer, at, 0xDC, count, 2)
    return put_head(writer, at, 0xDD, count, 4)


@compiled
def put_fixed(writer: Writer, at: int, start: int, size: int) -> int:
    """Bytes of `fixed`."""
    place = 0
    while place < size:
        copy_slack(writer.out, at + place, writer.fixed, start + place)
        place += SLACK
    return at + size


@compiled
def put_numbered(writer: Writer, at: int, start: int, size: int, number: int) -> int:
    """A text: bytes of `fixed`, then a number that is not negative; the empty text for 0."""
    if number == 0:
        writer.out[at] = 0xA0
        return at + 1
    digits = 1
    rest = number // 10
    while rest > 0:
        digits += 1
        rest = rest // 10
    length = size + digits
    if length < 32:
        writer.out[at] = 0xA0 | length
        at += 1
    elif length <= 0xFF:
        at = put_head(writer, at, 0xD9, length, 1)
    else:
        at = put_head(writer, at, 0xDA, length, 2)
    at = put_fixed(writer, at, start, size)
    rest = number
    for place in range(digits):
        tenth = rest // 10
        writer.out[at + digits - 1 - place] = 48 + rest - 10 * tenth
        rest = tenth
    return at + digits


@compiled
def put_payload(writer: Writer, at: int, kind: int, event: int, told: int) -> int:
    """The payload of an event, whose numbers are at `event` of the log."""
    program = writer.program
    op = writer.program_starts[kind]
    stop = writer.program_starts[kind + 1]
    while op < stop:
        code = program[op]
        first = program[op + 2]
        if code == _FIXED:
            at = put_fixed(writer, at, first, program[op + 3])
        elif code == _NUMBER:
            at = put_number(writer, at, writer.log[event + program[op + 1]])
        elif code == _NUMBERED:
            number = writer.log[event + program[op + 1]]
            at = put_numbered(writer, at, first, program[op + 3], number)
        elif code == _CHOICE:
            choice = first + 2 * writer.log[event + program[op + 1]]
            at = put_fixed(writer, at, writer.choices[choice], writer.choices[choice + 1])
        else:
            start = writer.told_ends[told - 1] if told > 0 else 0
            size = writer.told_ends[told] - start
            place = 0
            while place < size:
                copy_slack(writer.out, at + place, writer.told, start + place)
                place += SLACK
            at += size
        op += _OP_WORDS
    return at


@compiled
def put_ids(writer: Writer, at: int, cause: int, slot: int, seq: int, row: int) -> int:
    """Correlation and causation id of the event `seq`, in the step of `row`."""
    correlation = writer.market_seq
    causation = seq - 1
    if cause == _ALONE or (cause == _REPORTED and slot < 0):
        correlation = 0
        causation = 0
    elif cause == _DECIDED:
        causation = correlation
    elif cause == _SUBMITS:
        writer.order_correlation[slot] = correlation
        writer.order_causation[slot] = seq
    elif cause == _REPORTED:
        correlation = writer.order_correlation[slot]
        causation = writer.market_seq if row >= 0 else writer.order_causation[slot]
        writer.order_causation[slot] = seq
    elif cause == _CHANGES:
        correlation = writer.order_correlation[slot]
        writer.order_causation[slot] = seq
    elif cause == _BOOKED:
        correlation = writer.order_correlation[slot]
    return put_number(writer, put_number(writer, at, correlation), causation)


@compiled
def begin_numbers(writer: Writer, row: int, newest: int) -> int:
    """The seq of the first event of a step; see `StepLog`."""
    if row >= 0:
        writer.market_seq = writer.emitted + row
        writer.newest = row
        return writer.market_seq + 1
    if newest > writer.newest:
        writer.market_seq = writer.emitted + newest
        writer.newest = newest
    return writer.emitted + newest + 1


@entry_point
def write_steps(writer: Writer) -> int:
    """Write every step of the log; returns how many there are."""
    log = writer.log
    stop = writer.rows * LOG_WIDTH
    at = 0
    told = 0
    written = 0
    begun = 0
    while begun < stop:
        event = begun + LOG_WIDTH
        while event < stop and log[event] != _STEP:
            event += LOG_WIDTH
        count = (event - begun) // LOG_WIDTH - 1
        ts = log[begun + 1]
        row = log[begun + 2]
        seq = begin_numbers(writer, row, log[begun + 3])
        writer.out[at] = 0x94
        at = put_number(writer, at + 1, seq)
        at = put_number(writer, at, ts)
        at = put_number(writer, at, row)
        at = put_array_head(writer, at, count)
        step = written * _STEP_FIELDS
        writer.steps[step + 1] = seq
        writer.steps[step + 2] = count
        writer.steps[step + 3] = ts
        for place in range(1, count + 1):
            event = begun + place * LOG_WIDTH
            kind = log[event]
            writer.out[at] = 0x93
            at = put_payload(writer, at + 1, kind, event + _FIELDS, told)
            if writer.program[writer.program_starts[kind]] == _TOLD:
                told += 1
            at = put_ids(writer, at, writer.causes[kind], log[event + 2], seq, row)
            seq += 1
        writer.steps[step] = at
        writer.emitted += count
        written += 1
        begun += (count + 1) * LOG_WIDTH
    return written


_STANDING = ("emitted", "newest", "market_seq", "order_correlation", "order_causation")
"""What a writer remembers from one log to the next."""

_KINDS: dict[object, Any] = {
    int: "int", Ints: "int_slots", IntColumn: "int_column", ByteColumn: "byte_column",
}  # fmt: skip
_encode = msgspec.msgpack.Encoder().encode
_write_steps: Any = write_steps  # compiled code takes a `Packed` for a `Writer`


class _Program:
    """The operations of all layouts, and the bytes that they copy."""

    def __init__(self, layouts: Mapping[int, Layout | Told]) -> None:
        self.words: list[int] = []
        self.starts: list[int] = []
        self.choices: list[int] = []
        self.fixed = bytearray()
        self.causes = [0] * LOG_KINDS
        self.event_bytes = 0
        for kind in range(LOG_KINDS):
            self.starts.append(len(self.words))
            layout = layouts.get(kind)
            if layout is None:
                continue
            self.causes[kind] = layout.cause
            size = _EVENT_BYTES
            if isinstance(layout, Told):
                self.words += (_TOLD, 0, 0, 0)
            else:
                size += self._add(layout)
            self.event_bytes = max(self.event_bytes, size)
        self.starts.append(len(self.words))

    def _add(self, layout: Layout) -> int:
        """A payload; returns how many bytes it may take."""
        names = layout.payload.__struct_fields__
        if len(names) != len(layout.fields):
            raise InvariantBroken(f"the layout of {layout.payload.__name__} is of other fields")
        count = 1 + len(names)
        waiting = bytes([0x90 | count]) if count < 16 else b"\xdc" + struct.pack(">H", count)
        waiting += _encode(layout.payload.__struct_config__.tag)
        size = 0
        for source in layout.fields:
            if isinstance(source, Const):
                waiting += _encode(source.value)
                continue
            size += self._flush(waiting) + self._put(source)
            waiting = b""
        return size + self._flush(waiting)

    def _flush(self, waiting: bytes) -> int:
        if waiting:
            self.words += (_FIXED, 0, *self._keep(waiting))
        return len(waiting)

    def _keep(self, data: bytes) -> tuple[int, int]:
        start = len(self.fixed)
        self.fixed += data
        return start, len(data)

    def _put(self, source: Word | Numbered | Choice) -> int:
        match source:
            case Word(at):
                self.words += (_NUMBER, at, 0, 0)
                return 9
            case Numbered(at, prefix):
                data = prefix.encode()
                self.words += (_NUMBERED, at, *self._keep(data))
                return 3 + len(data) + _TEXT_NUMBER_BYTES
            case Choice(at, values):
                encoded = [_encode(each) for each in values]
                self.words += (_CHOICE, at, len(self.choices), 0)
                for each in encoded:
                    self.choices += self._keep(each)
                return max(map(len, encoded))


class RecordWriter:
    """Writes the steps of one session, a log after the other.

    Args:
        layouts: What its events are.
        slots: Order slots of the engine.
        log: The log that it fills.
    """

    def __init__(
        self, layouts: Mapping[int, Layout | Told], slots: int, log: npt.NDArray[np.int64]
    ) -> None:
        self._layouts = layouts
        self._growing = [
            each
            for layout in layouts.values()
            if isinstance(layout, Layout)
            for each in layout.fields
            if isinstance(each, Choice) and isinstance(each.values, list)
        ]
        self._told = {kind: layout for kind, layout in layouts.items() if isinstance(layout, Told)}
        self._is_told = np.array([kind in self._told for kind in range(LOG_KINDS)])
        rows = len(log) // LOG_WIDTH
        self._slots = slots
        self._log = log.reshape(rows, LOG_WIDTH)
        self._steps = np.zeros(rows * _STEP_FIELDS, dtype=np.int64)
        self._ends = np.zeros(rows, dtype=np.int64)
        self._told_bytes = self._out = np.zeros(0, dtype=np.uint8)
        self._load()

    def _load(self) -> None:
        """Take the layouts as they are now."""
        self._choices = self._count_choices()
        program = _Program(self._layouts)
        self._event_bytes = max(program.event_bytes, _STEP_BYTES)
        zeros = np.zeros(self._slots, dtype=np.int64)
        self._writer = Packed(
            make_writer_type(),
            {
                "emitted": 0, "newest": -1, "market_seq": 0, "order_correlation": zeros,
                "order_causation": zeros, "causes": program.causes, "program": program.words,
                "program_starts": program.starts, "choices": program.choices,
                "fixed": np.frombuffer(bytes(program.fixed) + bytes(SLACK), dtype=np.uint8),
                "log": self._log.reshape(-1), "rows": 0, "told": self._told_bytes,
                "told_ends": self._ends, "out": self._out, "steps": self._steps,
            },
        )  # fmt: skip
        self._make_room(max(_TOLD_BYTES, len(self._told_bytes)))

    def _count_choices(self) -> int:
        return sum(len(each.values) for each in self._growing)

    def _follow_choices(self) -> None:
        """Load the layouts again if there is more to choose from, and go on where it stands."""
        if self._count_choices() != self._choices:
            before = self._writer
            self._load()
            for name in _STANDING:
                self._writer.write(name, before.read(name))

    def write(self, rows: int) -> EncodedSteps:
        """The steps of so many rows of the log, as records."""
        self._follow_choices()
        self._tell(rows)
        self._writer.write("rows", rows)
        count = _write_steps(self._writer)
        steps = self._steps[: count * _STEP_FIELDS].reshape(count, _STEP_FIELDS)
        ends, seqs, counts, times = steps.T.copy()
        payload = self._out[: ends[-1] if count else 0].tobytes()
        return EncodedSteps(payload, ends, seqs, counts, times)

    def _tell(self, rows: int) -> None:
        """The payloads that Python makes, one after the other."""
        found = np.flatnonzero(self._is_told[self._log[:rows, 0]])
        end = 0
        for at, event in enumerate(self._log[found].tolist()):
            data = _encode(self._told[event[0]].tell(event[_FIELDS:]))
            if end + len(data) > len(self._told_bytes) - SLACK:
                self._make_room(2 * (end + len(data)))
            self._told_bytes[end : end + len(data)] = np.frombuffer(data, dtype=np.uint8)
            end += len(data)
            self._ends[at] = end

    def _make_room(self, told: int) -> None:
        """Have room for so many bytes that Python tells, and for what is written with them."""
        before = self._told_bytes
        self._told_bytes = np.zeros(told + SLACK, dtype=np.uint8)
        self._told_bytes[: len(before)] = before
        written = len(self._log) * self._event_bytes + told
        self._out = np.zeros(written + SLACK, dtype=np.uint8)
        self._writer.write("told", self._told_bytes)
        self._writer.write("out", self._out)


def make_writer_type() -> RecordType:
    """The record type of `Writer`."""
    return RecordType(f"Writer({compute_code_hash()})", get_fields(Writer, _KINDS))
