"""The plan of an expression: its estimators in the order to run them, each once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from onetape.features.state import FloatColumn, State


class Node(NamedTuple):
    """An estimator of a plan, and where its inputs stand: columns come first, then nodes."""

    estimator: Any
    sources: tuple[int, ...]


class Plan:
    """What to compute from what.

    Attributes:
        columns: The bar columns that the expression reads.
        nodes: Its estimators, each after those that it reads; equal ones are there once.
    """

    def __init__(self, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self._places: dict[Node, int] = {}

    @property
    def nodes(self) -> list[Node]:
        """In the order to run them."""
        return list(self._places)

    def add(self, estimator: Any, sources: tuple[int, ...]) -> int:
        """The place of an estimator's value, added if it is not there yet."""
        return self._places.setdefault(
            Node(estimator, sources), len(self.columns) + len(self._places)
        )

    def compute(
        self,
        inputs: tuple[FloatColumn, ...],
        compute_node: Callable[[Any, tuple[FloatColumn, ...]], FloatColumn],
    ) -> FloatColumn:
        """The column of the last node; a column between is let go after its last use.

        Args:
            inputs: The bar columns, each of shape (rows,).
            compute_node: A host: an estimator's column from the columns of its inputs.
        """
        last_use = {at: node for node in self.nodes for at in node.sources}
        columns = dict(enumerate(inputs))
        for place, node in enumerate(self.nodes, len(inputs)):
            used = tuple(columns[at] for at in node.sources)
            columns[place] = compute_node(node.estimator, used)
            for at in set(node.sources):
                if last_use[at] is node:
                    del columns[at]
        return columns[len(inputs) + len(self.nodes) - 1]


class Step(msgspec.Struct):
    """A node at run time."""

    update: Callable[..., float]
    state: State
    sources: tuple[int, ...]


class ExpressionState(State):
    """State of an expression: that of each of its nodes, in their order."""

    steps: list[Step]


def update_expression(state: ExpressionState, *columns: float) -> float:
    """Move every node by one bar; the value of the last."""
    values = list(columns)
    for step in state.steps:
        values.append(step.update(step.state, *[values[at] for at in step.sources]))
    return values[-1]
