"""The error tree, sorted by what the caller must do.

    OnetapeError
    |-- FixInput                 fix what you gave us
    |   |-- ConfigError          a configuration file, environment value or --set
    |   |-- DataError            a data file, a catalog table or a row
    |   |   `-- TapeDamaged      a tape is not what was written; exits as CallAPerson does
    |   `-- StrategyError        strategy code or its parameters
    |-- TryAgain                 the world was not ready
    |   |-- SourceUnavailable    a provider of data can't be reached or refuses service
    |   `-- VenueUnavailable
    |-- CallAPerson              books and venue disagree; no program may decide
    |   `-- ReconciliationError
    `-- InvariantBroken          our bug; the session stops safely

`StrategyStuck` stands beside the tree: it ends a callback that does not come back.

Business refusals (a denied or rejected order) are values, never exceptions.
"""

from __future__ import annotations


class OnetapeError(Exception):
    """Root of the tree: says what was wrong, where, and what to do.

    Args:
        what: What was wrong, one sentence, with the offending value.
        where: File, line, key or row; empty when there is no place.
        remedy: What to do about it; empty when the sentence already says it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{place}{self.what}{remedy}"


class FixInput(OnetapeError):
    """The input is wrong; the caller can correct it."""

    exit_code = 2


class ConfigError(FixInput):
    """A configuration value, key or combination is wrong."""


class DataError(FixInput):
    """A data file, a catalog table or a row is wrong."""


class TapeDamaged(DataError):
    """A tape is not what was written; only a person can decide how to go on."""

    exit_code = 4


class StrategyError(FixInput):
    """Strategy code or its parameters are wrong."""


class TryAgain(OnetapeError):
    """Nothing is wrong with the input; the world was not ready."""

    exit_code = 3


class SourceUnavailable(TryAgain):
    """A provider of data can't be reached or refuses service.

    `retry_after_s` is how long it asks to wait, 0 when it does not say.
    """

    def __init__(
        self, what: str, *, where: str = "", remedy: str = "", retry_after_s: float = 0.0
    ) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.retry_after_s = retry_after_s


class VenueUnavailable(TryAgain):
    """A venue can't be reached or refuses service."""


class CallAPerson(OnetapeError):
    """Only a person can decide how to go on."""

    exit_code = 4


class ReconciliationError(CallAPerson):
    """Our books and the venue's books disagree."""


class InvariantBroken(OnetapeError):
    """A promise of ours does not hold: a bug of onetape. The session stops safely."""

    exit_code = 70


class StrategyStuck(BaseException):
    """A callback of a strategy did not come back in time; where it stood is chance.

    No `Exception`, so that a strategy that goes on after every error of its own does not go on.
    """
