"""Checks the strategies of a configuration against their classes, with the place of each value."""

from __future__ import annotations

from collections.abc import Iterator

from onetape.domain.errors import ConfigError, FixInput, StrategyError
from onetape.domain.nearest import did_you_mean
from onetape.runtime.config import SessionConfig, StrategyConfig
from onetape.runtime.config_document import ConfigDocument
from onetape.runtime.config_yaml import KeyPath, dotted
from onetape.strategy.registry import load_strategy
from onetape.strategy.sdk import Strategy


def check_strategies(config: SessionConfig, document: ConfigDocument) -> list[FixInput]:
    """What is wrong with names, files, versions and params of the enabled strategies."""
    found: list[FixInput] = []
    for index, strategy in enumerate(config.strategies):
        if not strategy.enabled:
            continue
        at: KeyPath = ("strategies", index)
        try:
            kind = load_strategy(strategy.name, strategy.path)
        except StrategyError as error:
            key = (*at, "name" if strategy.path is None else "path")
            where = error.where or document.place_of(key)
            found.append(StrategyError(error.what, where=where, remedy=error.remedy))
            continue
        found.extend(
            ConfigError(f"{dotted(path)}{what}", where=document.place_of(path), remedy=remedy)
            for path, what, remedy in _check_one(strategy, kind, at)
        )
    return found


def _check_one(
    strategy: StrategyConfig, kind: type[Strategy], at: KeyPath
) -> Iterator[tuple[KeyPath, str, str]]:
    """(path, what, remedy) of each problem with one strategy."""
    if strategy.version is not None and strategy.version != kind.version:
        yield (
            (*at, "version"),
            f" is {strategy.version!r}, but {strategy.name} has version {kind.version!r}",
            "",
        )
    sound = True
    for name, value in strategy.params.items():
        declared = kind.declared_params.get(name)
        if declared is None:
            known = list(kind.declared_params)
            remedy = did_you_mean(name, known) or f"params: {', '.join(known) or 'none'}"
            yield (*at, "params", name), f" is no param of {strategy.name}", remedy
            sound = False
            continue
        try:
            declared.validate(value, "")
        except StrategyError as error:
            yield (*at, "params", name), f": {error.what}", error.remedy
            sound = False
    if sound:
        try:
            kind(**strategy.params)
        except StrategyError as error:
            yield (*at, "params"), f": {error.what}", error.remedy
