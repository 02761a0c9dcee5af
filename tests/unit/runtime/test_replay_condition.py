"""The language of conditions: what it takes, what it means, and that it never runs anything."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.runtime.replay.condition import (
    LENGTH_MAX,
    Condition,
    Kind,
    Term,
    compile_condition,
)

Values = dict[str, Any]

NUMBERS = ("close", "features.fast", "position[AAPL.XNAS]")


def read(name: str) -> Callable[[Values], Any]:
    return lambda values: values[name]


VOCABULARY: dict[str, Term[Values]] = {
    **{name: Term(Kind.NUMBER, read(name)) for name in NUMBERS},
    "type": Term(Kind.TEXT, read("type"), ("", "order.filled", "intent.order")),
    "label": Term(Kind.TEXT, read("label")),
    "time": Term(Kind.TIME, read("time")),
    "state.is_in": Term(Kind.TRUTH, read("state.is_in")),
}
HERE: Values = {
    "close": 101.5,
    "features.fast": float("nan"),
    "position[AAPL.XNAS]": -3,
    "type": "order.filled",
    "label": "the stop of AAPL",
    "time": 1_704_067_200_000_000_000,  # 2024-01-01T00:00:00Z
    "state.is_in": True,
}


def parse(text: str) -> Condition[Values]:
    return compile_condition(text, VOCABULARY)


# fmt: off
MEANING: list[tuple[str, bool]] = [
    ("close > 100",                                   True),
    ("close > 101.5",                                 False),
    ("close >= 101.5",                                True),
    ("100 < close < 101",                             False),
    ("100 < close < 102",                             True),
    ("-close < -101 and +close > 101",                True),
    ("close * 2 - 3 == 200",                          True),
    ("close // 10 == 10 and close % 10 == 1.5",       True),
    ("close / 0 > 1 or close % 0 < 1",                False),
    ("close / 0 != 1",                                True),
    ("features.fast < 1 or features.fast >= 1",       False),
    ("not features.fast < 1",                         True),
    ('position["AAPL.XNAS"] == -3',                   True),
    ('type == "order.filled"',                        True),
    ('type != "order.filled"',                        False),
    ('type in ("order.filled", "intent.order")',      True),
    ('type not in ["intent.order"]',                  True),
    ('"stop" in label',                               True),
    ('"limit" not in label',                          True),
    ('label == "the stop of AAPL"',                   True),
    ('time >= "2024-01-01"',                          True),
    ('time > "2024-01-01T00:00:00Z"',                 False),
    ('"2023-12-31" < time < "2024-01-02"',            True),
    ("state.is_in",                                   True),
    ("not state.is_in or close < 0",                  False),
    ("state.is_in == False",                          False),
    ("True and not False",                            True),
    ("1_000 > 9e2",                                   True),
    ("9" * 300 + " * " + "9" * 300 + " / 3.0 > 1",    False),   # no float is that large: NaN
]
# fmt: on


@pytest.mark.parametrize(("text", "holds"), MEANING, ids=[text[:40] for text, _ in MEANING])
def test_condition_means_what_it_says(text: str, holds: bool) -> None:
    assert parse(text).holds(HERE) is holds


# fmt: off
REFUSED: list[tuple[str, str]] = [
    ("",                                "is no condition"),
    ("close >",                         "is no condition: invalid syntax"),
    ("close > 1; close",                "is no condition"),
    ("close = 3",                       "is no condition"),
    ("close",                           "is a number, not true or false"),
    ("'text'",                          "is text, not true or false"),
    ("clos > 1",                        "there is no name clos (did you mean 'close'?)"),
    ("features.fats > 1",               "no name features.fats (did you mean 'features.fast'?)"),
    ('position["APL.XNAS"] > 1',        """did you mean 'position["AAPL.XNAS"]'"""),
    ("position[0] > 1",                 "can't hold position[0]"),
    ("position[type] > 1",              "can't hold position[type]"),
    ("close > 'abc'",                   "compares a number with text"),
    ("close > True",                    "compares a number with true or false"),
    ("type > 'order.filled'",           "can't be compared like that"),
    ("state.is_in < True",              "can't be compared like that"),
    ("type == 'order.fill'",            "called 'order.fill' (did you mean 'order.filled'?)"),
    ("'order.fill' != type",            "nothing here is called 'order.fill'"),
    ("type in ('order.fill', '')",      "nothing here is called 'order.fill'"),
    ("close in (1, 'a')",               "the list must hold constants that are a number"),
    ("close in (1, close)",             "the list must hold constants"),
    ("type in ('',) == True",           "can't hold ('',)"),
    ("time > 5",                        "compares a time with a number"),
    ("time > 'noon'",                   "is not an ISO 8601 date or time"),
    ("time - 5 > 5",                    "time is a time, and a number is needed here"),
    ("close + 'a' > 1",                 "'a' is text, and a number is needed here"),
    ("close and close > 1",             "close is a number, and true or false is needed here"),
    ("not close",                       "close is a number, and true or false is needed here"),
    ("-state.is_in > 1",                "and a number is needed here"),
    ("~close > 1",                      "can't hold ~close"),
    ("close ** 2 > 1",                  "can't hold close ** 2"),
    ("close << 2 > 1",                  "can't hold close << 2"),
    ("close is None",                   "can't hold None"),
    ("abs(close) > 1",                  "can't hold abs(close)"),
    ("__import__('os').system('true')", "can't hold __import__('os').system('true')"),
    ("close.__class__ == 1",            "there is no name close.__class__"),
    ("(lambda: 1)() == 1",              "can't hold (lambda: 1)()"),
    ("[x for x in (1, 2)] == 1",        "can't hold [x for x in (1, 2)]"),
    ("(x := 3) > 1",                    "can't hold (x := 3)"),
    ("f'{close}' == 'a'",               "can't hold f'{close}'"),
    ("b'a' == b'a'",                    "can't hold b'a'"),
    ("1j == 1",                         "can't hold 1j"),
    ("... == 1",                        "can't hold ..."),
    ("close if True else close",        "can't hold close if True else close"),
    ("await close",                     "can't hold await close"),
    ("{**close} == 1",                  "can't hold {**close}"),
    ("close > 1" + " " * LENGTH_MAX,    "has 1009 characters, and 1000 are allowed"),
    ("-" * 500 + "close > 1",           "nested"),
    ("(" * 150 + "close" + ")" * 150,   "is a number"),
    ("close\x00 > 1",                   "is no condition"),
    ("\ud800 > 1",                      "is no condition"),
]
# fmt: on


@pytest.mark.parametrize(("text", "told"), REFUSED, ids=[ascii(text[:30]) for text, _ in REFUSED])
def test_what_is_no_condition_is_refused_in_a_sentence(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text)
    if text.startswith("---"):
        assert "nested" in str(error.value) or "is no condition" in str(error.value)
    else:
        assert told in str(error.value)


def test_condition_knows_its_names() -> None:
    condition = parse(
        'close > 1 and (features.fast < 2 or position["AAPL.XNAS"] == 0) and close < 9'
    )
    assert condition.names == {"close", "features.fast", "position[AAPL.XNAS]"}


def test_refused_name_has_not_been_looked_at() -> None:
    def explode(_: Values) -> Any:
        raise AssertionError("nothing is read while a condition is compiled")

    vocabulary = {"close": Term[Values](Kind.NUMBER, explode)}
    compile_condition("close > 1 and close / 0 < 2", vocabulary)
    with pytest.raises(ConfigError):
        compile_condition("close > 1 and open < 2", vocabulary)


# Whatever is typed: a condition, or one sentence.

WORDS = st.sampled_from([
    "close", "features.fast", "type", "time", "state.is_in", "label", 'position["AAPL.XNAS"]', "1",
    "2.5", "0", "1e400", "'a'", "True", "None", "and", "or", "not", "in", "is", "==", "!=", "<",
    ">", "<=", "+", "-", "*", "/", "//", "%", "**", "(", ")", "[", "]", "{", "}", ",", ":", ".",
    "lambda", "if", "else", "for", "x", "exec", "__import__('os')", "open", "()", "@", "~", "&",
    "'2024-01-01'", "\n", "\\", "#", ":=", "f'{close}'", "yield", "9" * 50,
])  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=12).map(" ".join)))
@example("close" + " + close" * 120 + " > 1")
@example("not " * 200 + "state.is_in")
@example("f(" + "-" * 900 + "1)")
@example("a" + ".a" * 400)
@example("a" + "[0]" * 200)
def test_whatever_is_typed_is_a_condition_or_one_error(text: str) -> None:
    try:
        condition = parse(text)
    except ConfigError:
        return
    assert condition.holds(HERE) in (True, False)


class Never:
    """A builtin that must not be called."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("executed")


CALLS = st.sampled_from([
    "boom()", "close.boom()", "boom(close)", "[boom() for _ in (1,)]", "(lambda: boom())()",
    "f'{boom()}'", "{boom(): 1}", "boom[close]", "boom.x", "(boom := boom())",
    "position[boom()]", "features.fast.boom()", "print(boom())", "eval('boom()')",
])  # fmt: skip


@given(CALLS, st.sampled_from(["{} > 1", "close > {}", "not {}", "close > 1 or {}", "1 < {} < 2",
                               "type in ({},)", "-{} == 1", "{} and state.is_in"]))  # fmt: skip
def test_no_call_is_ever_executed(call: str, frame: str) -> None:
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        for name in ("eval", "exec", "print"):
            patched.setattr(f"builtins.{name}", Never())
        patched.setattr("builtins.boom", Never(), raising=False)
        with pytest.raises(ConfigError):
            parse(frame.format(call))


# Against a twin: Python's own meaning of the same tree, over the same values.

LEAVES = st.one_of(
    st.sampled_from(["close", "features.fast", 'position["AAPL.XNAS"]']),
    st.integers(0, 10**6).map(str),
    st.floats(0, 1e6, allow_nan=False).map(repr),
)
SUMS = st.recursive(
    LEAVES,
    lambda part: st.tuples(part, st.sampled_from(["+", "-", "*", "/", "//", "%"]), part).map(
        lambda each: f"({each[0]} {each[1]} {each[2]})"
    ),
    max_leaves=6,
)
COMPARED = st.tuples(SUMS, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), SUMS).map(" ".join)
LOGIC = st.recursive(
    COMPARED,
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from(["and", "or"]), part).map(
            lambda each: f"({each[0]} {each[1]} {each[2]})"
        ),
        part.map(lambda each: f"(not {each})"),
    ),
    max_leaves=5,
)
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


def compute(node: ast.expr, values: Values) -> Any:
    """A naive reading of the tree, both sides of every `and` and `or` computed."""
    match node:
        case ast.Constant():
            return node.value
        case ast.BinOp():
            left, right = compute(node.left, values), compute(node.right, values)
            if type(node.op) in (ast.Div, ast.FloorDiv, ast.Mod) and right == 0:
                return math.nan
            return OPERATORS[type(node.op)](left, right)
        case ast.BoolOp():
            parts = [compute(each, values) for each in node.values]
            return all(parts) if isinstance(node.op, ast.And) else any(parts)
        case ast.UnaryOp():
            return not compute(node.operand, values)
        case ast.Compare():
            sides = [compute(each, values) for each in (node.left, node.comparators[0])]
            return OPERATORS[type(node.ops[0])](*sides)
        case _:
            return values[ast.unparse(node).replace("'", "")]


@given(LOGIC, st.floats(-1e6, 1e6), st.floats(), st.integers(-1000, 1000))
def test_condition_equals_its_naive_twin(text: str, close: float, fast: float, held: int) -> None:
    values = HERE | {"close": close, "features.fast": fast, "position[AAPL.XNAS]": held}
    assert parse(text).holds(values) is bool(compute(ast.parse(text, mode="eval").body, values))
