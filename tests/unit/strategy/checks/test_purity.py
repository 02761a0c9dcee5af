from __future__ import annotations

import pytest

from onetape.strategy.validator import check_source
from tests.support.strategies import make_source

CLOCK = "ctx.now is the time in every mode"
RANDOM = "derive variation from params, so that every run decides the same"
DATA = "data reaches a strategy as bars, features and params"


def found(source):
    return [(each.code, each.message) for each in check_source(source, "mine.py")]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f"import {name}", name)
        for name in (
            "time", "random", "requests", "os", "os.path", "sys", "socket", "subprocess",
            "pathlib", "threading", "asyncio", "importlib", "builtins", "uuid", "secrets",
            "sqlite3", "json", "polars", "onetape", "onetape.runtime", "numpy.random",
            "onetape.strategy.guard", "onetape.strategy.registry", "numpyx",
        )
    ]
    + [
        ("from time import sleep", "time.sleep"),
        ("from numpy import random", "numpy.random"),
        ("from numpy.random import default_rng", "numpy.random.default_rng"),
        ("from onetape.strategy import guard", "onetape.strategy.guard"),
        ("from onetape.runtime.pipeline import Pipeline", "onetape.runtime.pipeline.Pipeline"),
    ],
)  # fmt: skip
def test_import_that_is_not_allowed_is_found_at_the_top_and_in_a_callback(line, name):
    expected = [("forbidden-import", f"import of {name}")]
    assert found(make_source(top=line)) == expected
    assert found(make_source(on_bar=line)) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from . import other", "a relative import, but a strategy file is loaded alone"),
        ("from math import *", "import of everything in math"),
    ],
)
def test_import_without_a_readable_name_is_found(line, message):
    assert found(make_source(top=line)) == [("forbidden-import", message)]


@pytest.mark.parametrize(
    "line",
    [
        "import math", "import numpy as np", "from numpy.typing import NDArray",
        "from collections import deque", "from collections.abc import Sequence",
        "from dataclasses import dataclass", "from datetime import UTC, datetime",
        "from enum import Enum", "from typing import Final", "import onetape.domain.orders",
        "from onetape.domain.market import Bar", "from onetape.features.average import Ema",
        "from onetape.strategy.context import Context",
        "from onetape.strategy.library.sma_cross import SmaCross",
    ],
)  # fmt: skip
def test_import_of_the_vocabulary_is_fine(line):
    assert found(make_source(top=line)) == []


@pytest.mark.parametrize(
    ("line", "code", "message", "remedy"),
    [
        ("open('x')", "forbidden-call", "use of open", DATA),
        ("read = open", "forbidden-call", "use of open", DATA),
        ("input()", "forbidden-call", "use of input", DATA),
        ("print(bar)", "forbidden-call", "use of print",
         "ctx.signal(name, value) puts a number on the tape"),
        ("eval('1')", "forbidden-call", "use of eval",
         "write the code itself, so that it can be read and compiled"),
        ("exec('1')", "forbidden-call", "use of exec", None),
        ("compile('1', '', 'eval')", "forbidden-call", "use of compile", None),
        ("__import__('os')", "forbidden-call", "use of __import__", None),
        ("__builtins__", "forbidden-call", "use of __builtins__", None),
        ("globals()['x'] = 1", "forbidden-call", "use of globals", None),
        ("setattr(self, 'x', 1)", "forbidden-call", "use of setattr", None),
        ("vars(self)['x'] = 1", "forbidden-call", "use of vars", None),
        ("id(bar)", "forbidden-call", "use of id",
         "compare and sort by values: these change from run to run"),
        ("sorted(ctx.instruments, key=hash)", "forbidden-call", "use of hash", None),
        ("breakpoint()", "forbidden-call", "use of breakpoint", None),
        ("getattr(bar, '__class__')", "forbidden-call", "getattr of the hidden __class__", None),
        ("bar.__dict__", "forbidden-call", "use of the hidden __dict__", None),
        ("object.__setattr__(self, 'x', 1)", "forbidden-call",
         "use of the hidden __setattr__", None),
        ("np.load('x')", "forbidden-call", "use of numpy.load", DATA),
        ("np.array(0).tofile('x')", "forbidden-call", "use of tofile", DATA),
        ("np.random.rand()", "randomness", "use of numpy.random", RANDOM),
        ("datetime.now()", "clock", "use of datetime.datetime.now", CLOCK),
        ("dt.datetime.utcnow()", "clock", "use of datetime.datetime.utcnow", CLOCK),
        ("dt.date.today()", "clock", "use of datetime.date.today", CLOCK),
        ("datetime.fromtimestamp(1)", "clock",
         "fromtimestamp in the machine's own time zone", "pass datetime.UTC"),
        ("datetime.fromtimestamp(1, dt.UTC).astimezone()", "clock",
         "astimezone in the machine's own time zone", "pass datetime.UTC"),
        ("np.datetime64('now')", "clock", "use of numpy.datetime64('now')", CLOCK),
    ],
)  # fmt: skip
def test_impure_line_is_found_with_its_number_and_remedy(line, code, message, remedy):
    top = "import datetime as dt\nimport numpy as np\nfrom datetime import datetime"
    findings = check_source(make_source(top=top, on_bar=line), "mine.py")
    assert [(each.line, each.code, each.message) for each in findings] == [(9, code, message)]
    assert findings[0].remedy
    assert remedy is None or findings[0].remedy == remedy


@pytest.mark.parametrize(
    "line",
    [
        "bar.open", "ctx.now", "id = 3\nreturn id", "getattr(ctx.features_of('x'), 'a')",
        "super().__init__()", "self.__class__.__name__", "datetime.fromtimestamp(1, UTC)",
        "datetime(2024, 1, 1)", "np.datetime64('2024-01-01')", "np.mean(ctx.history('x', 3))",
        "lambda open, hash: open + hash", "ctx.compile", "print = 1\nreturn print",
    ],
)  # fmt: skip
def test_line_that_only_looks_impure_is_fine(line):
    top = "import numpy as np\nfrom datetime import UTC, datetime"
    assert found(make_source(top=top, on_bar=line)) == []
