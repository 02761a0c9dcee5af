from __future__ import annotations

import pytest

from onetape.strategy.validator import check_source
from tests.support.strategies import HEADER, make_source

BODY = """\
size: int = param(1)
entries: int = state(0)
LEVEL = 5
def features(self) -> FeatureMap:
    return {"fast": Sma(2), "slow": Sma(3)}
def helper(self, ctx):
    return ctx.features.fast"""


def found(source):
    return [(each.code, each.message, each.remedy) for each in check_source(source, "mine.py")]


@pytest.mark.parametrize(
    ("line", "code", "message", "remedy"),
    [
        ("self.size = 2", "assigned-param", "param size is assigned",
         "params never change: declare state for what does"),
        ("self.size += 2", "assigned-param", "param size is assigned", None),
        ("self.total = 2", "undeclared-state", "self.total is assigned and not declared",
         "write `total: int = state(0)` in the class body, with the type it has"),
        ("a, self.total = 1, 2", "undeclared-state", "self.total is assigned and not declared",
         None),
        ("for self.total in (1, 2): pass", "undeclared-state",
         "self.total is assigned and not declared", None),
        ("self.LEVEL = 2", "undeclared-state", "self.LEVEL is assigned and not declared", None),
        ("return self.entires", "undeclared-state", "self.entires is not declared",
         "did you mean 'entries'?"),
        ("return ctx.features.fats", "unknown-feature", "features() returns no 'fats'",
         "did you mean 'fast'?"),
        ("f = ctx.features\nreturn f.sloow", "unknown-feature", "features() returns no 'sloow'",
         "did you mean 'slow'?"),
        ("return ctx.features_of(bar.instrument).z", "unknown-feature",
         "features() returns no 'z'", "known: fast, slow"),
    ],
)  # fmt: skip
def test_use_of_what_is_not_declared_is_found(line, code, message, remedy):
    findings = found(make_source(body=BODY, on_bar=line))
    assert [each[:2] for each in findings] == [(code, message)]
    assert remedy is None or findings[0][2] == remedy


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("def on_bars(self, bar, ctx): pass", "unknown-callback", "the engine never calls on_bars"),
        ("def on_signal(self, ctx): pass", "unknown-callback", "the engine never calls on_signal"),
        ("def generate_order(self, ctx): pass", "unknown-callback",
         "the engine never calls generate_order"),
        ("def on_quote(self, quote): pass", "callback-shape",
         "on_quote can't be called with (self, quote, ctx)"),
        ("def on_quote(self, quote, ctx, more): pass", "callback-shape",
         "on_quote can't be called with (self, quote, ctx)"),
        ("def on_quote(self, quote, ctx, *, more): pass", "callback-shape",
         "on_quote can't be called with (self, quote, ctx)"),
        ("def features(self, ctx): return {}", "callback-shape",
         "features can't be called with (self)"),
        ("async def on_quote(self, quote, ctx): pass", "callback-shape",
         "on_quote is async or a generator"),
        ("def on_quote(self, quote, ctx): yield 1", "callback-shape",
         "on_quote is async or a generator"),
        ("@staticmethod\ndef on_quote(self, quote, ctx): pass", "callback-shape",
         "on_quote is decorated"),
        ("def __init__(self): pass", "callback-shape", "__init__ belongs to Strategy"),
        ("seen = []", "mutable-class-attribute",
         "a container in the class body is shared by all instances"),
        ("seen: dict[str, int] = {}", "mutable-class-attribute",
         "a container in the class body is shared by all instances"),
        ("seen = list()", "mutable-class-attribute",
         "a container in the class body is shared by all instances"),
        ("size = param(1)", "declaration",
         "a param is one of int, float, bool, str, and says which"),
        ("seen: list = state(None)", "declaration",
         "a state is one of int, float, bool, str, and says which"),
        ("def helper(self, ctx): return ctx.features.fast", "unknown-feature",
         "features() returns no 'fast'"),
    ],
)  # fmt: skip
def test_class_that_can_not_work_is_found(body, code, message):
    assert [each[:2] for each in found(make_source(body=body))] == [(code, message)]


@pytest.mark.parametrize(
    "source",
    [
        "",
        "class Mine:\n    pass\n",
        "from elsewhere import Strategy\nclass Mine(Strategy):\n    pass\n",
    ],
)
def test_file_without_a_strategy_is_found(source):
    assert ("no-strategy", "the file has no subclass of Strategy") in [
        each[:2] for each in found(source)
    ]


@pytest.mark.parametrize(
    "on_bar",
    [
        "self.entries += 1", "return self.size + self.LEVEL", "return self.helper(ctx)",
        "f = ctx.features\nreturn f.fast - f.slow", "row = ctx.features_of('x')\nreturn row.slow",
        "f = ctx.features\nf = bar\nreturn f.anything", "self.on_order_update(None, ctx)",
        "return self.features()['fast'], self.version, self.declared_params",
    ],
)  # fmt: skip
def test_use_of_what_is_declared_is_fine(on_bar):
    assert found(make_source(body=BODY, on_bar=on_bar)) == []


@pytest.mark.parametrize(
    "body",
    [
        "def on_quote(self, quote, context, more=1): pass",
        "def on_quote(self, *args): pass",
        "def on_quote(this, quote, ctx, /): pass",
        "def _on_thing(self): pass",
        "def features(self): return make()\ndef helper(self, ctx): return ctx.features.any",
        "def features(self): return {f'a{n}': Sma(n) for n in (1, 2)}\n"
        "def helper(self, ctx): return ctx.features.a1",
    ],
)
def test_class_that_only_looks_wrong_is_fine(body):
    assert found(make_source(body=body)) == []


def test_class_inherits_declarations_and_features_inside_its_file():
    child = "class Child(Mine):\n    def on_stop(self, ctx):\n        self.entries = 0\n"
    child += "        return ctx.features.fast + self.helper(ctx) + self.LEVEL\n"
    assert found(make_source(body=BODY) + child) == []
    assert [each[0] for each in found(make_source(body=BODY) + child.replace("fast", "fats"))] == [
        "unknown-feature"
    ]


def test_class_with_a_base_from_elsewhere_is_checked_for_what_is_known():
    source = HEADER + "from onetape.strategy.library.sma_cross import SmaCross\n"
    source += "class Mine(SmaCross):\n    def on_bar(self, bar, ctx):\n"
    source += "        self.entries += ctx.features.fast\n"
    child = "class Child(Mine):\n    def on_stop(self, ctx):\n        self.entries = self.fast\n"
    assert found(source) == []
    assert found(source + child) == []
    assert [each[0] for each in found(source + "    def on_bars(self): pass\n")] == [
        "unknown-callback"
    ]
