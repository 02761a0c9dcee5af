"""Looks at the page headers of a Parquet file before polars does.

Polars takes the number of values in a page header for true. One bit makes it negative; then polars
asks for 2**61 bytes, and the whole process ends without an error that could be caught. So counts
and sizes are compared with each other and with the footer first; what the pages hold is left to
polars.

Format: Apache Parquet, `parquet.thrift` (FileMetaData, ColumnMetaData, PageHeader), in the compact
protocol of Apache Thrift. Numbers of fields are named below.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

_MAGIC = b"PAR1"
_TAIL = struct.Struct("<I4s")

# Fields by their numbers: of ColumnMetaData,
_NUM_VALUES, _UNCOMPRESSED, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE = 5, 6, 7, 9, 11
# and of PageHeader: its sizes, and what it holds of a data page, a dictionary, a page of version 2.
_PAGE_UNCOMPRESSED, _PAGE_COMPRESSED = 2, 3
_PAGE_KINDS = (5, 7, 8)
_DICTIONARY = 7
_COUNT = 1

Plan = Mapping[int, Any]
"""The fields that are read of a struct: None for a whole number, else the plan of a struct or of
the structs of a list. All others are passed over, which is most of what there is."""

_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_NUMBERS = (_NUM_VALUES, _UNCOMPRESSED, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE)
_FOOTER: Plan = {_ROW_GROUPS: {_COLUMNS: {_META_DATA: dict.fromkeys(_NUMBERS)}}}
_PAGE: Plan = {
    _PAGE_UNCOMPRESSED: None, _PAGE_COMPRESSED: None,
    **{kind: {_COUNT: None} for kind in _PAGE_KINDS},
}  # fmt: skip

_DEPTH_MAX = 16
_INTS = (4, 5, 6)
_LISTS = (9, 10)
_STRUCT = 12


class DamagedPage(ValueError):
    """A Parquet file whose sizes contradict each other."""


def check_pages(path: Path) -> None:
    """Compare the sizes that the footer and the page headers of a file state.

    Raises:
        DamagedPage: They can't all be true.
        OSError: The file can't be read.
    """
    if path.stat().st_size < len(_MAGIC) + _TAIL.size:
        raise DamagedPage("it is too short for a Parquet file")
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        try:
            for column in _columns(data):
                _check_column(data, column)
        except (IndexError, KeyError, TypeError, AttributeError) as error:
            raise DamagedPage(f"its metadata can't be read ({type(error).__name__})") from error


def _columns(data: mmap) -> Iterator[dict[int, Any]]:
    """ColumnMetaData of every column of every row group."""
    length, magic = _TAIL.unpack(data[-_TAIL.size :])
    begin = len(data) - _TAIL.size - length
    if magic != _MAGIC or begin < len(_MAGIC):
        raise DamagedPage("it does not end like a Parquet file")
    footer, _ = _read_struct(data[begin:], 0, _FOOTER)
    for group in footer[_ROW_GROUPS]:
        for column in group[_COLUMNS]:
            yield column[_META_DATA]


def _check_column(data: mmap, column: dict[int, Any]) -> None:
    begin = min(column[_DATA_PAGE], column.get(_DICTIONARY_PAGE) or column[_DATA_PAGE])
    end = begin + column[_COMPRESSED]
    if not len(_MAGIC) <= begin <= end <= len(data):
        raise DamagedPage(f"a column lies at {begin} to {end}, and it has {len(data)} bytes")
    chunk = data[begin:end]
    at = values = uncompressed = 0
    while at < len(chunk):
        header, body = _read_struct(chunk, at, _PAGE)
        size, stored = header[_PAGE_UNCOMPRESSED], header[_PAGE_COMPRESSED]
        kind = next((each for each in _PAGE_KINDS if each in header), 0)
        count = header[kind][_COUNT] if kind else 0
        uncompressed += size + body - at
        if kind != _DICTIONARY:
            values += count
        if min(size, stored, count) < 0 or uncompressed > column[_UNCOMPRESSED]:
            raise DamagedPage(f"the page at {begin + at} states sizes that can't be")
        at = body + stored
    if at != len(chunk) or values != column[_NUM_VALUES]:
        raise DamagedPage(f"the pages of the column at {begin} don't fill it")


def _read_struct(data: bytes, at: int, plan: Plan) -> tuple[dict[int, Any], int]:
    """The fields of a struct that `plan` names, by number, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        if head > 15:
            number += head >> 4
        else:
            number, at = _read_int(data, at)
        kind = head & 15
        if number not in plan:
            if kind in _INTS:
                while data[at] > 127:
                    at += 1
                at += 1
            elif kind > 2:
                at = _pass_over(data, at, kind, 0)
        elif (inner := plan[number]) is None:
            if kind not in _INTS:
                raise DamagedPage(f"its metadata has field {number} of type {kind}, no number")
            fields[number], at = _read_int(data, at)
        elif kind == _STRUCT:
            fields[number], at = _read_struct(data, at, inner)
        elif kind in _LISTS:
            fields[number], at = _read_list(data, at, inner)
        else:
            raise DamagedPage(f"its metadata has field {number} of type {kind}, no struct")
    return fields, at + 1


def _read_list(data: bytes, at: int, plan: Plan) -> tuple[list[dict[int, Any]], int]:
    count, kind, at = _read_list_head(data, at)
    if kind != _STRUCT:
        raise DamagedPage(f"its metadata has a list of type {kind}, not of structs")
    items: list[dict[int, Any]] = []
    for _ in range(count):
        item, at = _read_struct(data, at, plan)
        items.append(item)
    return items, at


def _read_list_head(data: bytes, at: int) -> tuple[int, int, int]:
    """How many items a list has, their type, and where they begin."""
    head = data[at]
    if head >> 4 < 15:
        return head >> 4, head & 15, at + 1
    count, at = _read_varint(data, at + 1)
    return count, head & 15, at


def _pass_over(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value ends that nobody asks for; a bool is its type and has no bytes."""
    if depth > _DEPTH_MAX:
        raise DamagedPage("its metadata is nested too deep")
    if kind in _INTS:
        while data[at] > 127:
            at += 1
        return at + 1
    if kind == 8:
        length, at = _read_varint(data, at)
        return at + length
    if kind == _STRUCT:
        while head := data[at]:
            at += 1
            if head < 16:
                _, at = _read_varint(data, at)
            kind = head & 15
            if kind == 8 and data[at] < 128:  # the usual ones without a call
                at += data[at] + 1
            elif kind in _INTS:
                while data[at] > 127:
                    at += 1
                at += 1
            elif kind > 2:
                at = _pass_over(data, at, kind, depth + 1)
        return at + 1
    if kind in _LISTS:
        count, kind, at = _read_list_head(data, at)
        if count > len(data):
            raise DamagedPage(f"its metadata has a list of {count} items")
        for _ in range(count):
            if kind in _INTS:
                while data[at] > 127:
                    at += 1
                at += 1
            else:  # bools are bytes in a list
                at = at + 1 if kind <= 2 else _pass_over(data, at, kind, depth + 1)
        return at
    if kind in (3, 7):
        return at + (1 if kind == 3 else 8)
    if kind in (1, 2):
        return at
    raise DamagedPage(f"its metadata has a field of the unknown type {kind}")


def _read_int(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint."""
    value = data[at]
    if value > 127:
        value, at = _read_varint(data, at)
        return (value >> 1) ^ -(value & 1), at
    return (value >> 1) ^ -(value & 1), at + 1


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise DamagedPage("its metadata has a number of more than 64 bits")
