"""Nothing in the source depends on hash order, memory addresses or the wall clock."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.source_tree import trees

WALL_CLOCK = {
    "time.time", "time.time_ns", "time", "time_ns",
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today",
    "datetime.date.today",
}  # fmt: skip
CLOCK_OWNERS = (
    "control/", "runtime/local_venues/", "runtime/sessions/", "runtime/realtime/clock.py",
    "research/sweep.py",
)  # fmt: skip
"""People (`sweep` is what a notebook calls), session wiring and servers may ask what time it is."""


def find_calls(tree: ast.AST, names: set[str]) -> Iterator[str]:
    """Calls of any of `names`, as written; not inside `__hash__`, whose job `hash` is."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name == "__hash__":
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield f"{node.lineno}: {ast.unparse(node)}"
        yield from find_calls(node, names)


def find_in_source(names: set[str], without: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{path}:{call}"
        for path, tree in trees().items()
        if not path.startswith(without or "-")
        for call in find_calls(tree, names)
    ]


def test_source_never_asks_for_a_hash_or_an_address() -> None:
    assert find_in_source({"hash", "id"}) == []


def test_source_asks_the_wall_clock_only_at_the_edges() -> None:
    assert find_in_source(WALL_CLOCK, without=CLOCK_OWNERS) == []


def test_approvals_are_made_in_risk_only() -> None:
    mint = {"RiskApproved", "approval.RiskApproved", "RiskApproved.__new__"}
    assert find_in_source(mint, without=("risk/",)) == []
    assert find_in_source(mint) != []


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("sorted(x, key=lambda o: id(o))", {"id"}),
        ("y = hash(x) % 2", {"hash"}),
        ("now = datetime.now(tz=UTC)", WALL_CLOCK),
        ("def f():\n    return [time.time() for _ in x]", WALL_CLOCK),
    ],
)
def test_scan_finds_a_call_wherever_it_stands(line: str, names: set[str]) -> None:
    assert list(find_calls(ast.parse(line), names)) != []


def test_scan_leaves_hash_methods_and_other_names_alone() -> None:
    source = "class A:\n    def __hash__(self):\n        return hash(self.b)\nlist.id(1)\nvalid(2)"
    assert list(find_calls(ast.parse(source), {"hash", "id"})) == []
