"""Every example is a valid configuration of a strategy that exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetape.runtime.config import compose_document, validate_document
from onetape.runtime.config_strategies import check_strategies

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))


def test_examples_cover_every_shipped_strategy() -> None:
    assert [each.stem for each in EXAMPLES] == [
        "buy_and_hold", "mean_reversion", "momentum_rebalance", "rsi", "sma_cross"
    ]  # fmt: skip


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_valid_and_starts_with_the_strategy_it_is_named_after(path: Path) -> None:
    document = compose_document(path, [], {})
    config, problems = validate_document(document)
    assert config is not None, problems
    assert check_strategies(config, document) == []
    assert config.name == path.stem
