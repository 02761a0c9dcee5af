"""From a configuration file to a session that may start."""

from __future__ import annotations

import os
import sys
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

    Ids in its limits that it does not have are told on stderr.

    Raises:
        ConfigError: The first problem in the order of the file, or the mode is another one.
        StrategyError: A strategy is not known or can't be loaded.
    """
    from onetape.runtime.config import compose_document, validate_document
    from onetape.runtime.config_limits import check_limits, tell_idle
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
    for problem in (*check_strategies(config, document), *check_limits(config, document)):
        raise problem
    for each in tell_idle(config.risk, config.data.instruments):
        print(f"warning: {each}", file=sys.stderr)
    return config
