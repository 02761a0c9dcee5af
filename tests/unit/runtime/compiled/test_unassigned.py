from __future__ import annotations

import ast
import textwrap

import pytest

from onetape.runtime.compiled.unassigned import find_unassigned

CASES = {
    "value": ("v = 1\nreturn v", []),
    "argument": ("return a", []),
    "global": ("return LIMIT", []),
    "read_first": ("w = v\nv = 1\nreturn w", ["v 2"]),
    "add_first": ("v += 1", ["v 2"]),
    "annotated": ("v: int\nreturn v", ["v 3"]),
    "annotated_then_maybe": ("v: int\nif a:\n    v = 1\nreturn v", ["v 5"]),
    "annotated_value": ("v: int = 1\nreturn v", []),
    "one_branch": ("if a:\n    v = 1\nreturn v", ["v 4"]),
    "both_branches": ("if a:\n    v = 1\nelse:\n    v = 2\nreturn v", []),
    "elif_without_else": ("if a:\n    v = 1\nelif b:\n    v = 2\nreturn v", ["v 6"]),
    "other_branch_returns": ("if a:\n    return 0\nelse:\n    v = 1\nreturn v", []),
    "inside_of_branch": ("if a:\n    v = 1\n    return v\nreturn 0", []),
    "loop": ("for i in range(a):\n    v = i\nreturn v", ["v 4"]),
    "loop_variable": ("for i in range(a):\n    pass\nreturn i", ["i 4"]),
    "loop_that_runs": ("for i in range(3):\n    v = i\nreturn v + i", []),
    "loop_that_never_runs": ("for i in range(0):\n    v = i\nreturn v", ["v 4"]),
    "loop_over_items": ("for i in [a, b]:\n    v = i\nreturn v", []),
    "loop_over_nothing": ("for i in []:\n    v = i\nreturn v", ["v 4"]),
    "loop_with_continue": ("for i in range(3):\n    if a:\n        continue\n    v = i\nreturn v",
                           ["v 6"]),
    "loop_with_break": ("for i in range(3):\n    if a:\n        break\n    v = i\nreturn v + i",
                        ["v 6"]),
    "loop_else": ("for i in range(a):\n    if i > 3:\n        v = 1\n        break\nelse:\n"
                  "    v = 2\nreturn v", []),
    "loop_else_that_may_be_left_out": ("for i in range(a):\n    if i > 3:\n        break\nelse:\n"
                                       "    v = 2\nreturn v", ["v 7"]),
    "inner_break": ("for i in range(3):\n    v = 1\n    for j in range(a):\n        break\n"
                    "return v", []),
    "within_loop": ("for i in range(a):\n    v = i\n    b += v\nreturn b", []),
    "next_round": ("for i in range(a):\n    if i > 0:\n        b += v\n    v = i\nreturn b",
                   ["v 4"]),
    "while": ("while a > b:\n    v = 1\n    b += 1\nreturn v", ["v 5"]),
    "while_test": ("while v:\n    v = 0", ["v 2"]),
    "endless": ("while True:\n    v = 1\n    if a:\n        break\nreturn v", []),
    "endless_early_break": ("while True:\n    if a:\n        break\n    v = 1\nreturn v", ["v 6"]),
    "endless_without_end": ("while True:\n    a += 1\nreturn v\nv = 1", []),
    "tuple": ("v, (w, x) = a\nreturn v + w + x", []),
    "item": ("v[0] = 1\nv = a", ["v 2"]),
    "comprehension": ("return [v for v in a if v > b]", []),
    "comprehension_of_unknown": ("w = [v + x for v in a]\nx = 1\nreturn w", ["x 2"]),
    "comprehension_keeps_its_names": ("w = [v for v in a]\nif b:\n    v = 1\nreturn v", ["v 5"]),
    "lambda": ("f = lambda v: v + b\nreturn f(a)", []),
    "lambda_of_unknown": ("f = lambda w: w + v\nv = 1\nreturn f(a)", ["v 2"]),
    "raise": ("if a:\n    raise ValueError\nelse:\n    v = 1\nreturn v", []),
    "unreachable": ("return a\nreturn v\nv = 1", []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_names_that_may_have_no_value(name: str) -> None:
    body, expected = CASES[name]
    source = "def f(a, b):\n" + textwrap.indent(body, "    ")
    definition = ast.parse(source).body[0]
    assert isinstance(definition, ast.FunctionDef)
    found = [f"{each.id} {each.lineno}" for each in find_unassigned(definition)]
    assert found == expected
