from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onetape.domain.rules import rule
from onetape.features import Estimator, Rsi, State, compiled
from onetape.features.columns import compute_column
from onetape.features.compiled import PackedState, compute_column_compiled


class TwoRingsState(State):
    size: int
    first: list[float]
    scale: float
    second: list[float]
    at: int = 0


@rule
def update_two_rings(state: TwoRingsState, close: float, volume: float) -> float:
    state.at = (state.at + 1) % state.size
    state.first[state.at] = close
    state.second[state.at] = volume
    oldest = (state.at + 1) % state.size
    return (state.first[oldest] - state.second[oldest]) * state.scale


class TwoRings(Estimator, frozen=True):
    """Two array fields, two inputs."""

    size: int

    update = staticmethod(update_two_rings)

    def start_state(self) -> TwoRingsState:
        return TwoRingsState(
            size=self.size, first=[0.5] * self.size, scale=0.1, second=[-2.0] * self.size
        )


class OverrunState(State):
    ring: list[float]
    at: int = 0


@rule
def update_overrun(state: OverrunState, close: float) -> float:
    state.ring[state.at] = close
    state.at += 1
    return close


class Overrun(Estimator, frozen=True):
    """Writes behind the end of its ring."""

    update = staticmethod(update_overrun)

    def start_state(self) -> OverrunState:
        return OverrunState(ring=[0.0, 0.0])


def test_packed_state_is_fields_then_the_values_of_the_arrays() -> None:
    state = PackedState(TwoRings(2))
    words = state.words
    first, second = state.address + 7 * 8, state.address + 17 * 8  # a gap between them
    assert state.ints[[0, 1, 2, 4, 5, 6]].tolist() == [2, first, 2, second, 2, 0]
    assert words[3] == 0.1
    assert words[7:9].tolist() == [0.5, 0.5]
    assert words[17:19].tolist() == [-2.0, -2.0]


def test_packed_state_with_a_fraction_in_an_int_field_raises() -> None:
    class Halved(TwoRings, frozen=True):
        def start_state(self) -> TwoRingsState:
            half: Any = self.size / 2
            return TwoRingsState(size=half, first=[], scale=1.0, second=[])

    with pytest.raises(TypeError, match="float"):
        PackedState(Halved(3))


def test_estimator_with_two_rings_and_two_inputs_gives_the_same_bits_compiled() -> None:
    rng = np.random.default_rng(2)
    inputs = (rng.random(100), rng.random(100))
    for size in (1, 2, 7):
        expected = compute_column(TwoRings(size), inputs)
        assert compute_column_compiled(TwoRings(size), inputs).tobytes() == expected.tobytes()


def test_index_behind_the_end_of_a_ring_raises_in_both_hosts() -> None:
    for compute in (compute_column, compute_column_compiled):
        with pytest.raises(IndexError):
            compute(Overrun(), (np.ones(5),))


def test_estimator_of_another_window_is_not_compiled_again() -> None:
    close = np.ones(100)
    compute_column_compiled(Rsi(2), (close,))
    before = len(compiled.fill_column.signatures)
    for window in (3, 4, 50):
        compute_column_compiled(Rsi(window), (close,))
    assert len(compiled.fill_column.signatures) == before


def run_python(program: str, **env: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **env},
        capture_output=True,
        check=True,
        text=True,
    ).stdout


def test_second_process_compiles_nothing(tmp_path: Path) -> None:
    program = """
import numpy
from onetape.features import Macd, Rsi, Sma
from onetape.features import compiled
from onetape.features.kernels import sums
close = (numpy.arange(100.0),)
for estimator in (Rsi(5), Rsi(7), Macd(), Sma(5)):
    compiled.compute_column_compiled(estimator, close)
for each in (compiled.fill_column, sums.fill_sma):
    stats = each.stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()), end=" ")
"""
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert run_python(program, **cache) == "0 2 0 1 "
    assert run_python(program, **cache, PYTHONHASHSEED="5") == "2 0 1 0 "


USER_MODULE = """
from onetape.domain.rules import rule
from onetape.features import Estimator, State

@rule
def change(x):
    return x + 1.0

@rule
def update(state, close):
    return change(close)

class Mine(Estimator, frozen=True):
    update = staticmethod(update)
    def start_state(self):
        return State()
"""


LOAD_MINE = """
import importlib.util, sys, numpy
from onetape.features import compiled
spec = importlib.util.spec_from_file_location(*sys.argv[1:])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
value = compiled.compute_column_compiled(module.Mine(), (numpy.ones(1),))[0]
print(value, sum(compiled.fill_column.stats.cache_hits.values()))
"""


def run_user_module(folder: Path, name: str, source: str) -> str:
    path = folder / f"{name}.py"
    path.write_text(source)
    return subprocess.run(
        [sys.executable, "-c", LOAD_MINE, name, str(path)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")},
        capture_output=True,
        check=True,
        text=True,
    ).stdout


def test_compiled_code_on_disk_serves_the_same_rule_only(tmp_path: Path) -> None:
    changed = USER_MODULE.replace("+ 1.0", "+ 4.5")
    assert run_user_module(tmp_path, "mine", USER_MODULE) == "2.0 0\n"
    assert run_user_module(tmp_path, "mine", changed) == "5.5 0\n"
    (tmp_path / "mine.py").unlink()
    assert run_user_module(tmp_path, "moved", USER_MODULE) == "2.0 1\n"


def test_without_a_folder_to_cache_in_it_compiles_in_memory() -> None:
    program = """
import numpy
from onetape.features import Ema, Rsi
from onetape.features.compiled import compute_column_compiled
for each in (Ema(1), Rsi(1)):
    print(compute_column_compiled(each, (numpy.ones(2),))[1], end=" ")
"""
    nowhere = {"NUMBA_CACHE_LOCATOR_CLASSES": "_IPythonCacheLocator"}
    assert run_python(program, **nowhere) == "1.0 50.0 "
