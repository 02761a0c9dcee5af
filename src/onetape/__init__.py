"""onetape: one strategy codebase in research, backtest, paper and live, on one replayable tape."""

__version__ = "0.1.0"
