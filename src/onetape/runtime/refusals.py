"""Tables of what a session does not carry: each row tells when, what, where and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from onetape.domain.errors import ConfigError


class Refusal(NamedTuple):
    """One thing that is refused where it `applies`."""

    applies: bool
    what: str
    where: str
    remedy: str


def refuse_first(table: Iterable[Refusal]) -> None:
    """Refuse with the first row that applies.

    Raises:
        ConfigError: One does.
    """
    for each in table:
        if each.applies:
            raise ConfigError(each.what, where=each.where, remedy=each.remedy)
