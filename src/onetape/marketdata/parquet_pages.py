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
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

_MAGIC = b"PAR1"
_TAIL = struct.Struct("<I4s")

# Fields by their numbers: of FileMetaData, RowGroup, ColumnChunk,
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
# of ColumnMetaData,
_NUM_VALUES, _UNCOMPRESSED, _COMPRESSED, _DATA_PAGE, _DICTIONARY_PAGE = 5, 6, 7, 9, 11
# and of PageHeader: its sizes, and what it holds of a data page, a dictionary, a page of version 2.
_PAGE_UNCOMPRESSED, _PAGE_COMPRESSED = 2, 3
_PAGE_KINDS = (5, 7, 8)
_DICTIONARY = 7

_DEPTH_MAX = 16


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
    footer, _ = _read_struct(data[begin:], 0)
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
        header, body = _read_struct(chunk, at)
        size, stored = header[_PAGE_UNCOMPRESSED], header[_PAGE_COMPRESSED]
        kind = next((each for each in _PAGE_KINDS if each in header), 0)
        count = header[kind][1] if kind else 0
        uncompressed += size + body - at
        if kind != _DICTIONARY:
            values += count
        if min(size, stored, count) < 0 or uncompressed > column[_UNCOMPRESSED]:
            raise DamagedPage(f"the page at {begin + at} states sizes that can't be")
        at = body + stored
    if at != len(chunk) or values != column[_NUM_VALUES]:
        raise DamagedPage(f"the pages of the column at {begin} don't fill it")


def _read_struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """A struct's fields by number, and where it ends."""
    if depth > _DEPTH_MAX:
        raise DamagedPage("its metadata is nested too deep")
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _read_int(data, at)
        fields[number], at = _read_value(data, at, head & 15, depth)
    return fields, at + 1


def _read_value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    match kind:
        case 1 | 2:  # a bool is its type
            return kind == 1, at
        case 3:
            return data[at], at + 1
        case 4 | 5 | 6:
            return _read_int(data, at)
        case 7:
            return data[at + 7], at + 8  # its last byte, so that it must be there
        case 8:
            length, at = _read_varint(data, at)
            return None, at + length
        case 9 | 10:
            return _read_list(data, at, depth)
        case 12:
            return _read_struct(data, at, depth + 1)
        case _:
            raise DamagedPage(f"its metadata has a field of the unknown type {kind}")


def _read_list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    head = data[at]
    count, at = (head >> 4, at + 1) if head >> 4 < 15 else _read_varint(data, at + 1)
    items: list[Any] = []
    for _ in range(count):
        if head & 15 in (1, 2):  # bools are bytes in a list
            item, at = data[at] == 1, at + 1
        else:
            item, at = _read_value(data, at, head & 15, depth)
        items.append(item)
    return items, at


def _read_int(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint."""
    value, at = _read_varint(data, at)
    return (value >> 1) ^ -(value & 1), at


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
