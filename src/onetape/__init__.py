"""onetape: one strategy codebase in research, backtest, paper and live, on one replayable tape.

`onetape.data` is `onetape.research.market_frame.read_frame`: market data of a catalog as a frame.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`data`, imported when it is asked for: the command line starts fast, and no layer is above.

    By name, since everything below imports the version from here.
    """
    if name != "data":
        raise AttributeError(f"module 'onetape' has no attribute {name!r}")
    return import_module("onetape.research.market_frame").read_frame
