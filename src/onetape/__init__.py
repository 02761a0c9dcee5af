"""onetape: one strategy codebase in research, backtest, paper and live, on one replayable tape.

`onetape.data` is `onetape.research.market_frame.read_frame`: market data of a catalog as a frame.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onetape.research.market_frame import read_frame as data

__version__ = "0.1.0"
__all__ = ["__version__", "data"]


def __getattr__(name: str) -> object:
    """`data`, imported when it is asked for, so that the command line starts fast."""
    if name != "data":
        raise AttributeError(f"module 'onetape' has no attribute {name!r}")
    from onetape.research.market_frame import read_frame

    return read_frame
