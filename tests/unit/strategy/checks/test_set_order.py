from __future__ import annotations

import pytest

from onetape.strategy.validator import check_source
from tests.support.strategies import make_source

TOP = "WATCHED = {'A', 'B'}"


def found(on_bar):
    return [
        (each.code, each.message.partition(":")[0])
        for each in check_source(make_source(top=TOP, on_bar=on_bar), "mine.py")
    ]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("for x in {1, 2}: ctx.cancel(x)", "a loop over a set"),
        ("for x in set(ctx.instruments): ctx.cancel(x)", "a loop over a set"),
        ("for x in frozenset(ctx.instruments): ctx.cancel(x)", "a loop over a set"),
        ("for x in set('a') | set('b'): ctx.cancel(x)", "a loop over a set"),
        ("for x in set('a').union('b'): ctx.cancel(x)", "a loop over a set"),
        ("for x in {y for y in 'ab'}: ctx.cancel(x)", "a loop over a set"),
        ("s = set('ab')\nt = s - {1}\nfor x in t: ctx.cancel(x)", "a loop over a set"),
        ("for x in WATCHED: ctx.cancel(x)", "a loop over a set"),
        ("[x for x in {1, 2}]", "a comprehension over a set"),
        ("sum(x for x in {0.1, 0.2})", "a comprehension over a set"),
        ("list({1, 2})", "list() of a set"),
        ("enumerate({1, 2})", "enumerate() of a set"),
        ("sum({0.1, 0.2})", "sum() of a set"),
        ("sorted({1, 2}, key=abs)", "sorted() of a set"),
        ("max((x for x in {1, 2}), key=abs)", "a comprehension over a set"),
        ("[*{1, 2}]", "a set unpacked with *"),
        ("{1, 2}.pop()", "pop() of a set"),
    ],
)
def test_order_of_a_set_that_reaches_a_decision_is_found(line, what):
    assert found(line) == [("unordered-iteration", what)]


@pytest.mark.parametrize(
    "line",
    [
        "for x in sorted({1, 2}): ctx.cancel(x)", "1 in {1, 2}", "len(set('ab'))",
        "sorted(x for x in {1, 2})", "any(x for x in WATCHED)", "{x for x in {1, 2}}",
        "for x in {'a': 1}: ctx.cancel(x)", "s = {1}\ns = [1]\nfor x in s: ctx.cancel(x)",
        "WATCHED = [1]\nfor x in WATCHED: ctx.cancel(x)", "list(dict.fromkeys('ab'))",
        "max({1, 2})",
    ],
)  # fmt: skip
def test_set_whose_order_reaches_nothing_is_fine(line):
    assert found(line) == []
