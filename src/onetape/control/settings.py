"""From a configuration file to a session that may start."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onetape.domain.errors import ConfigError

if TYPE_CHECKING:
    from onetape.runtime.config import SessionConfig


def load_backtest(file: Path, overrides: Sequence[str]) -> SessionConfig:
    """`load_session` of a backtest."""
    return load_session(file, overrides, "backtest")


def load_session(file: Path, overrides: Sequence[str], mode: str) -> SessionConfig:
    """The configuration of a session whose strategies exist and accept their params.

    Raises:
        ConfigError: The first problem in the order of the file, or the mode is another one.
        StrategyError: A strategy is not known or can't be loaded.
    """
    from onetape.runtime.config import compose_document, validate_document
    from onetape.runtime.config_strategies import check_strategies

    document = compose_document(file, overrides, os.environ)
    config, problems = validate_document(document)
    if config is None:
        raise problems[0]
    if config.mode != mode:
        raise ConfigError(
            f"the configuration is for {config.mode}, not for {mode}",
            where=document.place_of(("mode",)),
            remedy=f"onetape {config.mode} {file}, or set mode: {mode}",
        )
    for problem in check_strategies(config, document):
        raise problem
    return config
