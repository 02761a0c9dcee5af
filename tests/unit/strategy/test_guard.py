from __future__ import annotations

import linecache
import os
import random
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings
from pathlib import Path

import numpy as np
import numpy.random  # numpy loads it on first use; here it is there from the start
import pytest

from onetape.domain.errors import StrategyError
from onetape.domain.events import SessionStopped
from onetape.marketdata.timeline import build_timeline
from onetape.strategy.guard import watching
from onetape.strategy.library.sma_cross import SmaCross
from onetape.strategy.sdk import Strategy, state
from tests.support.session_runs import run_session
from tests.support.strategies import EQUITY, make_context


class Calling(Strategy):
    """Runs whatever it gets as a bar, from inside a callback."""

    def on_bar(self, bar, ctx):
        return bar()

    def on_stop(self, ctx):
        return self.helper()

    def helper(self):
        return time.time()


class Child(Calling):
    pass


def call(action, strategy=Calling):
    with watching([strategy]):
        return strategy().on_bar(action, make_context())


@pytest.mark.parametrize(
    ("action", "what", "remedy"),
    [
        (lambda: time.time(), r"time\.time\(\)", "ctx.now"),
        (lambda: time.time_ns(), r"time\.time_ns\(\)", "ctx.now"),
        (lambda: time.monotonic(), r"time\.monotonic\(\)", "ctx.now"),
        (lambda: time.perf_counter(), r"time\.perf_counter\(\)", "ctx.now"),
        (lambda: time.sleep(0), r"time\.sleep\(\)", "ctx.now"),
        (lambda: time.localtime(), r"time\.localtime\(\)", "ctx.now"),
        (lambda: random.random(), r"random\.random\(\)", "from params"),
        (lambda: random.seed(1), r"random\.seed\(\)", "from params"),
        (lambda: random.shuffle([]), r"random\.shuffle\(\)", "from params"),
        (lambda: os.urandom(1), r"os\.urandom\(\)", "from params"),
        (lambda: uuid.uuid4(), r"uuid\.uuid4\(\)", "from params"),
        (lambda: np.random.rand(), r"numpy\.random\.rand\(\)", "from params"),
        (lambda: np.random.default_rng(1), r"numpy\.random\.default_rng\(\)", "from params"),
        (lambda: Path(__file__).read_text(), "open of '.*test_guard.py'", "data reaches"),
        (lambda: Path("/nowhere/x").write_text(""), "open of '/nowhere/x'", "data reaches"),
        (lambda: list(Path("/").iterdir()), "os.listdir", "data reaches"),
        (lambda: Path("/nowhere/x").unlink(), "os.remove", "data reaches"),
        (lambda: os.system("true"), "os.system", "data reaches"),
        (lambda: os.putenv("X", "1"), "os.putenv", "data reaches"),
        (lambda: subprocess.run(["true"], check=True), "subprocess.Popen", "data reaches"),
        (lambda: socket.socket().connect(("127.0.0.1", 9)), "socket.__new__", "data reaches"),
        (lambda: socket.getaddrinfo("localhost", 9), "socket.getaddrinfo", "data reaches"),
    ],
)  # fmt: skip
def test_access_inside_a_callback_is_refused(action, what, remedy):
    with pytest.raises(StrategyError, match=what) as caught:
        call(action)
    assert "is not possible inside a callback" in caught.value.what
    assert caught.value.where.startswith("Calling.on_bar line ")
    assert remedy in caught.value.remedy


def test_access_from_a_helper_or_an_inherited_callback_is_refused():
    with watching([Child]), pytest.raises(StrategyError, match=r"Calling.helper line \d+: time"):
        Child().on_stop(make_context())


@pytest.mark.parametrize(
    ("action", "module"),
    [(lambda: __import__("secrets"), "secrets"), (lambda: np.random.rand(), "numpy.random")],
)
def test_randomness_that_is_first_loaded_inside_a_callback_is_refused(monkeypatch, action, module):
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr(np, "random")
    with pytest.raises(StrategyError, match=f"import of {module} is not possible"):
        call(action)


def test_engine_around_the_callback_is_not_concerned(tmp_path):
    with watching([Calling]):
        assert time.time() > 0
        assert 0 <= random.random() < 1
        (tmp_path / "tape").write_text("x")
        assert Calling().on_bar(lambda: 5, make_context()) == 5


def test_classes_stay_classes_while_somebody_watches():
    with watching([Calling]):
        assert isinstance(random.Random(1), random.Random)
        assert isinstance(np.random.RandomState, type)


def test_other_threads_are_not_concerned():
    times: list[float] = []
    done = threading.Event()
    go = threading.Event()

    def refresh():
        go.wait(5)
        times.append(time.monotonic())
        done.set()

    thread = threading.Thread(target=refresh)
    thread.start()
    call(lambda: (go.set(), done.wait(5)))
    thread.join()
    assert len(times) == 1


def test_strategy_that_is_not_watched_is_not_concerned():
    with watching([SmaCross]):
        assert Calling().on_bar(time.time, make_context()) > 0


def test_library_code_that_loads_itself_inside_a_callback_is_fine(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert call(lambda: __import__("colorsys")).__name__ == "colorsys"


def test_warning_that_reads_its_line_inside_a_callback_is_fine():
    linecache.clearcache()
    text = call(lambda: warnings.formatwarning("hot", RuntimeWarning, __file__, 1))
    assert text.endswith("RuntimeWarning: hot\n  from __future__ import annotations\n")


def test_functions_are_put_back_after_an_exception_and_after_nested_blocks():
    before = (time.time, random.random, os.urandom, np.random.rand)
    with pytest.raises(ZeroDivisionError), watching([Calling]), watching([SmaCross]):
        [] if time.time is before[0] else 1 / 0
    assert (time.time, random.random, os.urandom, np.random.rand) == before
    assert Calling().on_bar(time.time, make_context()) > 0


def test_inner_block_leaves_the_outer_one_watching():
    with watching([Calling]):
        with watching([Calling]):
            pass
        with pytest.raises(StrategyError, match=r"time\.time"):
            Calling().on_bar(lambda: time.time(), make_context())


class Curious(Strategy):
    """Asks the clock on its third bar."""

    bars: int = state(0)

    def on_bar(self, bar, ctx):
        self.bars += 1
        if self.bars == 3:
            time.time()


def test_strategy_that_asks_the_clock_in_a_session_is_quarantined_and_the_session_ends_well():
    ts = np.arange(1, 6, dtype=np.int64) * 86_400 * 10**9
    columns = {"ts_open": ts - 10**9, "ts_close": ts, "ts_known": ts, "session_close": ts,
               "quality": np.zeros(5, dtype=np.int64)}  # fmt: skip
    columns |= dict.fromkeys(("open", "high", "low", "close", "volume"), np.full(5, 10.0))
    timeline = build_timeline([(EQUITY, columns)], source="made", timeframe="1d")
    run = run_session(timeline, Curious(), capital=1000)
    (quarantined,) = run.quarantined
    assert quarantined.callback == "on_bar"
    assert "time.time() is not possible inside a callback (ctx.now is" in quarantined.error
    assert isinstance(run.events[-1].payload, SessionStopped)


def test_function_kept_from_inside_a_block_works_after_it():
    with watching([Calling]):
        kept = time.time
    assert Calling().on_bar(kept, make_context()) > 0
