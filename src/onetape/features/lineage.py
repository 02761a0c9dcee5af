"""What features are made of, as a graph: columns of bars, features, and who reads whom."""

from __future__ import annotations

import msgspec

from onetape.features.formula import render_formula
from onetape.features.registry import FeatureDefinition, FeatureRegistry


class LineageNode(msgspec.Struct, frozen=True, kw_only=True):
    """A column of bars (no `formula`) or a feature `name@number`.

    `reads` are the keys of what it is made of, `depth` how many features lie below it.
    """

    key: str
    formula: str
    reads: tuple[str, ...]
    depth: int


def trace_lineage(registry: FeatureRegistry) -> list[LineageNode]:
    """Every feature and every column that one reads, those that are read first.

    Raises:
        StrategyError: A name is unknown, or features read each other in a circle.
    """
    nodes: dict[str, LineageNode] = {}

    def visit(definition: FeatureDefinition) -> LineageNode:
        if definition.key in nodes:
            return nodes[definition.key]
        registry.resolve(definition.key)  # no circle
        depth = 0
        reads: list[str] = []
        for name in definition.estimator.inputs:
            if name in definition.reads:
                below = visit(registry.find(name, definition))
            else:
                below = nodes.setdefault(name, LineageNode(key=name, formula="", reads=(), depth=0))
            reads.append(below.key)
            depth = max(depth, below.depth + 1)
        made = LineageNode(
            key=definition.key, formula=render_formula(definition.estimator),
            reads=tuple(dict.fromkeys(reads)), depth=depth,
        )  # fmt: skip
        nodes[made.key] = made
        return made

    for each in registry:
        visit(each)
    return sorted(nodes.values(), key=lambda each: (each.depth, each.key))


def draw_lineage(nodes: list[LineageNode]) -> str:
    """The graph as trees, one for each feature that no other reads; what is read hangs below."""
    by_key = {each.key: each for each in nodes}
    read = {key for each in nodes for key in each.reads}
    lines: list[str] = []

    def draw(node: LineageNode, first: str, rest: str) -> None:
        lines.append(f"{first}{node.key}" + (f" = {node.formula}" if node.formula else ""))
        for at, key in enumerate(node.reads):
            is_last = at == len(node.reads) - 1
            draw(
                by_key[key],
                rest + ("`-- " if is_last else "|-- "),
                rest + ("    " if is_last else "|   "),
            )

    for each in nodes:
        if each.formula and each.key not in read:
            draw(each, "", "")
    return "\n".join(lines)
