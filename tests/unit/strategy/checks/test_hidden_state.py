from __future__ import annotations

import pytest

from onetape.strategy.validator import check_source
from tests.support.strategies import make_source

TOP = "SEEN = []\nLEVELS = (1, 2)\ndef note(x):\n    SEEN.append(x)"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("global SEEN", "global SEEN"),
        ("SEEN.append(1)", "SEEN, which outlives the call, is changed with append()"),
        ("SEEN[0] = 1", "SEEN, which outlives the call, is changed"),
        ("del SEEN[0]", "SEEN, which outlives the call, is changed"),
        ("Mine.total = 1", "Mine, which outlives the call, is changed"),
        ("Mine.total += 1", "Mine, which outlives the call, is changed"),
        ("Strategy.total = 1", "Strategy, which outlives the call, is changed"),
        ("type(self).total = 1", "attribute total of the class is changed for all instances"),
        ("self.__class__.total = 1", "attribute total of the class is changed for all instances"),
        ("ctx.units[bar.instrument] = 1.0", "ctx, which outlives the call, is changed"),
        ("ctx.queue.clear()", "ctx, which outlives the call, is changed with clear()"),
        ("def inner(x=[]): pass", "the mutable default of inner() is shared by all calls"),
        ("def inner(*, x=dict()): pass", "the mutable default of inner() is shared by all calls"),
        ("n = 0\ndef inner():\n    nonlocal n", "nonlocal n"),
    ],
)
def test_memory_outside_of_declared_state_is_found(line, message):
    findings = check_source(make_source(on_bar=line, top="SEEN = []"), "mine.py")
    assert [(each.code, each.message) for each in findings] == [("hidden-state", message)]


def test_function_beside_the_class_is_checked_too():
    findings = check_source(make_source(top=TOP), "mine.py")
    assert [(each.line, each.code) for each in findings] == [(6, "hidden-state")]


@pytest.mark.parametrize(
    "line",
    [
        "seen = []\nseen.append(1)", "SEEN = []\nSEEN.append(1)", "for SEEN in ([1],): SEEN[0] = 2",
        "x = LEVELS[0]", "ctx.open_orders().sort()", "def inner(x=()): pass",
    ],
)  # fmt: skip
def test_memory_of_one_call_is_fine(line):
    source = make_source(top="SEEN = []\nLEVELS = (1, 2)", on_bar=line)
    assert check_source(source, "mine.py") == []
