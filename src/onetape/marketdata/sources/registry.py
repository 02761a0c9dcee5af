"""Finds a provider by its name, or in a file of the user's."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import cast

from onetape.domain.errors import ConfigError
from onetape.marketdata.sources.port import BarSource, OpenSource, SourceAccess
from onetape.marketdata.sources.renamed import RenamedSource
from onetape.marketdata.symbol_map import SymbolSpan

PROVIDERS = {
    "yahoo": "onetape.marketdata.sources.yahoo:YahooSource",
    "alpaca": "onetape.marketdata.sources.alpaca:AlpacaSource",
}
"""`module:Class` by name; any other name is that of a crypto exchange in ccxt."""


def open_source(name: str, access: SourceAccess, spans: Sequence[SymbolSpan] = ()) -> BarSource:
    """The provider `name`: one of `PROVIDERS`, an exchange of ccxt, or `FILE.py:Class`.

    With `spans` each of their symbols is asked for on its own days.

    Raises:
        ConfigError: There is no such provider, its extra is not installed, or it refuses what
            `access` says.
    """
    if name in PROVIDERS:
        module, _, wanted = PROVIDERS[name].partition(":")
        provider = cast(OpenSource, getattr(importlib.import_module(module), wanted))
    elif name.rpartition(":")[0].endswith(".py"):
        provider = _load_file(name)
    else:
        from onetape.marketdata.sources.crypto import CryptoSource

        provider: OpenSource = partial(CryptoSource, name)
    return RenamedSource(provider, access, spans) if spans else provider(access)


def _load_file(name: str) -> OpenSource:
    file, _, wanted = name.rpartition(":")
    path = Path(file)
    spec = spec_from_file_location(f"onetape_source_{path.stem}", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigError("there is no such file", where=file)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except (
        ArithmeticError, AttributeError, ImportError, LookupError, NameError, OSError, RuntimeError,
        SyntaxError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise ConfigError(f"can't be imported: {type(error).__name__}: {error}",
                          where=file) from error  # fmt: skip
    if not isinstance(getattr(module, wanted, None), type):
        raise ConfigError(f"there is no class {wanted!r}", where=file)
    return cast(OpenSource, getattr(module, wanted))
