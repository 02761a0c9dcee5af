"""The whole state of a session between two steps, and its bytes."""

from __future__ import annotations

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.market import TradingStatus
from onetape.execution.emulation import EmulatorState
from onetape.execution.simulated.venue import VenueState
from onetape.runtime.carrying_costs import Night
from onetape.runtime.contract_desk import OptionState
from onetape.runtime.margin_desk import MarginState
from onetape.runtime.order_desk import DeskState
from onetape.runtime.pipeline import PipelineState
from onetape.runtime.settlement import Proceeds
from onetape.runtime.step_log import StepLogState

STATE_VERSION = 1
"""Version of everything below; a session goes on from its own version only."""


class SessionState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a session knows after the timeline's `row`, the pinned market data aside.

    Marks, exposures and features follow from the data, `row` and how many of the corporate actions,
    contract steps and ends of trading days have come, so they are not here. What is `halted` is,
    for those who have the tape alone.
    """

    version: int
    row: int
    log: StepLogState
    desk: DeskState
    venue: VenueState
    pipeline: PipelineState
    actions: int = 0
    day_ends: int = 0
    transfers: int = 0
    nights: list[Night] = []
    steps: int = 0
    margin: list[MarginState] = []
    proceeds: list[Proceeds] = []
    halted: list[TradingStatus] = []
    options: list[OptionState] = []
    emulator: EmulatorState | None = None


def encode_state(state: SessionState) -> bytes:
    """The same bytes for the same state."""
    return msgspec.msgpack.encode(state)


def decode_state(data: bytes) -> SessionState:
    """The state that `encode_state` wrote.

    Raises:
        DataError: It is of another version, or no state.
    """
    try:
        return msgspec.msgpack.decode(data, type=SessionState)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"a snapshot can't be read: {error}",
            remedy="it was written by another version of onetape: run the session again",
        ) from error
