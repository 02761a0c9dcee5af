from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import pytest
from numba import njit, types

from onetape.domain.rule_compiler import (
    OPTIONS,
    Packed,
    RecordType,
    copy_head,
    get_fields,
    record_at,
    rehome,
)

INNER = RecordType("TestInner", (("lots", "int"), ("prices", "floats")))
TABLE = ("records", INNER)
RECORD = RecordType(
    "TestRecord",
    (
        ("count", "int"), ("ratio", "float"), ("is_on", "bool"), ("ints", "ints"),
        ("floats", "floats"), ("int_slots", "int_slots"), ("float_slots", "float_slots"),
        ("int_column", "int_column"), ("float_column", "float_column"), ("inner", INNER),
        ("table", TABLE), ("word", types.int64),
    ),
)  # fmt: skip


def make_inner(lots: int) -> Packed:
    return Packed(INNER, {"lots": lots, "prices": [lots + 0.5, lots + 0.75]})


def make_record(**values: Any) -> Packed:
    filled: dict[str, Any] = {
        "count": -7, "ratio": 0.1, "is_on": True, "ints": [1, 2, 3], "floats": [0.25, -0.0],
        "int_slots": [10, 20], "float_slots": [1.5], "int_column": np.array([100, 200]),
        "float_column": np.array([2.5, 3.5]), "inner": make_inner(5),
        "table": [make_inner(6), make_inner(7)], "word": 9,
    }  # fmt: skip
    return Packed(RECORD, filled | values)


@njit(**OPTIONS)
def read_all(record: Any, at: int) -> Any:
    second = record_at(record.table, 1)
    return (
        record.count, record.ratio, record.is_on, record.ints[at], len(record.ints),
        record.floats[at], record.int_slots[at], record.float_slots[0], record.int_column[at],
        record.float_column[at], record.inner.lots, record.inner.prices[at], second.lots,
        second.prices[at], record.word,
    )  # fmt: skip


@njit(**OPTIONS)
def write_all(record: Any) -> None:
    record.count = 70
    record.ratio = 3
    record.is_on = False
    record.ints[2] = 30
    record.floats[0] = -1.0
    record.int_slots[1] = 21
    record.float_slots[0] = 2.5
    record.int_column[1] = 201
    record.float_column[0] = -2.5
    record.inner.lots = 50
    record_at(record.table, 0).prices[1] = 60.0
    record.word = 90


def test_compiled_code_reads_every_kind_of_field() -> None:
    assert read_all(make_record(), 1) == (
        -7, 0.1, True, 2, 3, -0.0, 20, 1.5, 200, 3.5, 5, 5.75, 7, 7.75, 9
    )  # fmt: skip


def test_compiled_code_writes_every_kind_of_field() -> None:
    columns = {"int_column": np.array([100, 200]), "float_column": np.array([2.5, 3.5])}
    inner, table = make_inner(5), [make_inner(6), make_inner(7)]
    record = make_record(inner=inner, table=table, **columns)
    write_all(record)
    told = [record.read(name) for name in ("count", "ratio", "is_on", "word")]
    assert told == [70, 3.0, False, 90]
    assert [type(each) for each in told] == [int, float, bool, int]
    assert record.read("ints").tolist() == [1, 2, 30]
    assert record.read("floats").tolist() == [-1.0, -0.0]
    assert record.read("int_slots").tolist() == [10, 21]
    assert record.read("float_slots").tolist() == [2.5]
    assert columns["int_column"].tolist() == [100, 201]
    assert columns["float_column"].tolist() == [-2.5, 3.5]
    assert inner.read("lots") == 50
    assert table[0].read("prices").tolist() == [6.5, 60.0]


@pytest.mark.parametrize("at", [3, -4])
def test_index_outside_of_an_array_raises_in_compiled_code(at: int) -> None:
    with pytest.raises(IndexError):
        read_all(make_record(), at)


def test_python_writes_every_kind_of_field() -> None:
    record = make_record()
    record.write("count", 1)
    record.write("ratio", 2)
    record.write("is_on", False)
    record.write("ints", [4, 5, 6])
    record.write("floats", [7.0, 8.0])
    record.write("int_slots", [9, 11])
    record.write("float_slots", [12.0])
    record.write("int_column", np.array([13, 14]))
    record.write("float_column", np.array([15.0, 16.0]))
    record.write("inner", record.keep(make_inner(17)))
    record.write("word", 18)
    gc.collect()
    assert read_all(record, 1) == (
        1, 2.0, False, 5, 3, 8.0, 11, 12.0, 14, 16.0, 17, 17.75, 7, 7.75, 18
    )  # fmt: skip


def test_copy_has_values_of_its_own_and_shares_what_it_points_to() -> None:
    column = np.array([100, 200])
    record = make_record(int_column=column)
    twin = record.copy()
    twin.write("count", 1)
    twin.read("ints")[0] = 99
    column[1] = 7
    assert (record.read("count"), record.read("ints").tolist()) == (-7, [1, 2, 3])
    assert read_all(twin, 0)[:4] == (1, 0.1, True, 99)
    assert read_all(twin, 1)[8] == read_all(record, 1)[8] == 7


def test_record_keeps_alive_what_it_points_to() -> None:
    column = np.array([100, 200])
    inner = make_inner(5)
    watched = [weakref.ref(column), weakref.ref(inner.words)]
    record = make_record(int_column=column, inner=inner)
    del column, inner
    twin = record.copy()
    del record
    gc.collect()
    assert all(each() is not None for each in watched)
    assert read_all(twin, 1)[8] == 200
    del twin
    gc.collect()
    assert all(each() is None for each in watched)


@pytest.mark.parametrize("value", [0.5, 2.0, "1", None])
def test_fraction_in_an_int_field_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        make_record(count=value)
    with pytest.raises(TypeError):
        make_record().write("word", value)


def test_number_beyond_int64_is_refused() -> None:
    with pytest.raises(OverflowError):
        make_record(count=2**63)


@pytest.mark.parametrize("value", [[], [1], [1, 2, 3, 4]])
def test_array_of_another_length_is_refused(value: list[int]) -> None:
    with pytest.raises(ValueError, match=f"ints has 3 items and gets {len(value)}"):
        make_record().write("ints", value)


def test_unknown_field_is_refused() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        make_record().read("nothing")
    with pytest.raises(KeyError, match="ratio"):
        Packed(RecordType("TestPart", (("count", "int"), ("ratio", "float"))), {"count": 1})


def test_records_of_other_fields_are_other_types() -> None:
    pairs = [(("a", "int"),), (("a", "float"),), (("b", "int"),), (("a", "int"), ("b", "int"))]
    assert len({RecordType("Test", fields).name for fields in pairs}) == 4
    assert RecordType("Test", pairs[0]) == RecordType("Test", pairs[0])


class Terms(msgspec.Struct):
    lots: int
    price: float
    note: str
    items: Annotated[list[int], "slots"]


def test_fields_of_a_struct_are_its_annotations() -> None:
    kinds: dict[object, Any] = {
        int: "int", float: "float", Annotated[list[int], "slots"]: "int_slots"
    }  # fmt: skip
    fields = (("lots", "int"), ("price", "float"), ("items", "int_slots"))
    assert get_fields(Terms, kinds, skip=("note",)) == fields
    with pytest.raises(KeyError):
        get_fields(Terms, kinds)


# Functions under another name.

STEP = 5


def scale(
    value: int,
    by: int = STEP,
) -> int:
    """Says nothing."""
    if value > 100:
        return value

    return value * by


def test_rehomed_function_keeps_file_lines_and_defaults() -> None:
    twin = rehome(scale, "scale_1234")
    assert (twin.__name__, twin.__qualname__) == ("scale_1234", "scale_1234")
    assert twin.__module__ == "onetape.domain.rule_compiler"
    assert twin.__code__.co_filename == scale.__code__.co_filename
    first = scale.__code__.co_firstlineno
    lines = {line - first for *_, line in twin.__code__.co_lines() if line is not None}
    assert lines == {0, 5, 6, 8}
    assert twin.__defaults__ == (5,)
    assert njit(twin)(3) == 15


def test_rehomed_function_keeps_defaults_whose_names_are_gone() -> None:
    class Scope:
        LIMIT = 4

        def pick(value: int, limit: int = LIMIT) -> int:  # noqa: N805
            return value + limit

    assert njit(rehome(Scope.pick, "pick_1234"))(1) == 5


def test_rehomed_function_calls_what_it_is_given() -> None:
    def double(value: int) -> int:
        return scale(value)  # the name alone counts

    names = {"scale": njit(lambda value: value * 2)}
    assert njit(rehome(double, "double_1234", names))(21) == 42


def test_rehomed_function_raises_where_a_number_leaves_int64() -> None:
    with pytest.raises(OverflowError):
        njit(rehome(scale, "scale_1234"))(-(2**62), 3)


# Compiled code on disk.

SCRIPT = """
import importlib.util, sys
from numba import njit
from onetape.domain.rule_compiler import make_compilable

path, name = sys.argv[1:]
spec = importlib.util.spec_from_file_location(name, path)
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
rule = module.shift
make_compilable(rule)

@njit(cache=True)
def call(value):
    return rule(value)

print(call(2.0), sum(call.stats.cache_hits.values()), sum(call.stats.cache_misses.values()))
"""
RULES = """
from onetape.domain.rules import rule

BY = 0.5

@rule
def double(value):
    return value * 2.0

@rule
def shift(value):
    return double(value) + BY
"""


def test_compiled_rule_loads_from_disk_without_the_file_it_came_from(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def run(path: Path, name: str) -> str:
        path.parent.mkdir()
        path.write_text(RULES)
        done = subprocess.run(
            [sys.executable, str(script), str(path), name], check=True, capture_output=True,
            text=True, env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        )  # fmt: skip
        path.unlink()
        return done.stdout.strip()

    assert run(tmp_path / "old" / "first.py", "first") == "4.5 0 1"
    assert run(tmp_path / "new" / "second.py", "second") == "4.5 1 0"


VIEWED = RecordType("TestViewed", (("count", "int"), ("left", "float_view"), ("ratio", "float"),
                                   ("right", "float_view")))  # fmt: skip


@njit(**OPTIONS)
def move_viewed(record: Any, steps: int) -> Any:
    copy = copy_head(record)
    for _ in range(steps):
        copy.count += 1
        copy.ratio += 0.5
        copy.left[copy.count] += 10.0
        copy.right[0] = copy.ratio
    return copy.count, copy.ratio, len(copy.left), copy.right[1]


def make_viewed() -> Packed:
    values = {"count": 0, "left": [1.0, 2.0, 3.0], "ratio": 0.25, "right": [4.0, 5.0]}
    return Packed(VIEWED, values)


def test_copy_of_a_head_has_its_own_fields_and_shares_the_arrays() -> None:
    record = make_viewed()
    assert move_viewed(record, 2) == (2, 1.25, 3, 5.0)
    assert (record.read("count"), record.read("ratio")) == (0, 0.25)
    assert record.read("left").tolist() == [1.0, 12.0, 13.0]
    assert record.read("right").tolist() == [1.25, 5.0]


def test_index_beyond_a_viewed_array_raises() -> None:
    with pytest.raises(IndexError):
        move_viewed(make_viewed(), 3)


def test_copied_block_views_its_own_values() -> None:
    record = make_viewed()
    twin = record.copy()
    move_viewed(twin, 1)
    twin.write("right", [8.0, 9.0])
    assert record.read("left").tolist() == [1.0, 2.0, 3.0]
    assert record.read("right").tolist() == [4.0, 5.0]
    assert twin.read("left").tolist() == [1.0, 12.0, 3.0]
    assert twin.read("right").tolist() == [8.0, 9.0]


def test_copy_of_a_head_whose_arrays_it_would_not_find_is_refused() -> None:
    with pytest.raises(Exception, match="has arrays that are found from where the record is"):
        move_viewed(make_inner(1), 1)
