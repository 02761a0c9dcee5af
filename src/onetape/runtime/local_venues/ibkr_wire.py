"""TWS's socket protocol as its server version 178 has it: frames, and the fields of messages.

A message is its length (4 bytes, big-endian) and fields that each end in a null byte; the first one
says which message it is. Fields are by position, and an empty one is IB's "none".

Source: the layouts that ib_async 2.1 writes (`client.py`) and reads (`decoder.py`), after IB's own
client of the TWS API.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal

import msgspec

SERVER_VERSION = 178
Field = str | int | float | Decimal | bool | None
Fields = Sequence[Field]


class AskedContract(msgspec.Struct, frozen=True):
    """A contract as a client names it."""

    con_id: int
    symbol: str
    kind: str
    exchange: str
    currency: str


class AskedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as a client sends it; texts of numbers, empty where it has none."""

    order_id: int
    contract: AskedContract
    action: str
    quantity: str
    kind: str
    limit: str
    aux: str
    life: str
    account: str
    reference: str
    parent: str
    display: str
    good_till: str
    trail_stop: str
    trail_percent: str


def encode(fields: Fields) -> bytes:
    """A message as it goes over the wire."""
    body = b"".join(show(each).encode() + b"\0" for each in fields)
    return struct.pack(">I", len(body)) + body


def show(field: Field) -> str:
    """A field as text: exact, and without an exponent."""
    if field is None:
        return ""
    if isinstance(field, bool):
        return "1" if field else "0"
    if isinstance(field, Decimal):
        return f"{field.normalize():f}"
    return str(field)


def decode(body: bytes) -> list[str]:
    """The fields of a message."""
    return body.decode(errors="replace").split("\0")[:-1]


def read_versions(body: bytes) -> tuple[int, int]:
    """(lowest, highest) version of `v157..178`, which may have options behind it.

    Raises:
        ValueError: It is something else.
    """
    lowest, _, highest = body.decode().split(" ")[0].removeprefix("v").partition("..")
    return int(lowest), int(highest or lowest)


def read_contract(fields: Sequence[str], at: int) -> AskedContract:
    """The twelve fields of a contract that begin at `at`."""
    return AskedContract(
        con_id=int(fields[at] or 0), symbol=fields[at + 1], kind=fields[at + 2],
        exchange=fields[at + 7], currency=fields[at + 9],
    )  # fmt: skip


def read_order(fields: Sequence[str]) -> AskedOrder:
    """A `placeOrder` of a single contract without hedges.

    Raises:
        IndexError, ValueError: It is cut, or not of this version.
    """
    return AskedOrder(
        order_id=int(fields[1]), contract=read_contract(fields, 2), action=fields[16],
        quantity=fields[17], kind=fields[18], limit=fields[19], aux=fields[20], life=fields[21],
        account=fields[23], reference=fields[26], parent=fields[28], display=fields[31],
        good_till=fields[38], trail_stop=fields[68], trail_percent=fields[69],
    )  # fmt: skip


class ShownContract(msgspec.Struct, frozen=True, kw_only=True):
    """A stock as IB shows it."""

    con_id: int
    symbol: str
    currency: str
    primary: str
    time_zone: str
    hours: str
    tick: Decimal
    lot: Decimal
    least: Decimal

    @property
    def fields(self) -> list[Field]:
        """The eleven fields of it in most messages."""
        return [self.con_id, self.symbol, "STK", "", "0.0", "?", "", "SMART", self.currency,
                self.symbol, self.symbol]  # fmt: skip


class ShownOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order as IB shows it; prices that it has not are None."""

    contract: ShownContract
    order_id: int
    client_id: int
    perm_id: int
    action: str
    quantity: Decimal
    filled: Decimal
    kind: str
    limit: Decimal | None
    aux: Decimal | None
    life: str
    account: str
    reference: str
    display: int
    good_till: str
    trail_stop: Decimal | None
    trail_percent: Decimal | None
    status: str
    words: str = ""


def show_open_order(order: ShownOrder) -> list[Field]:
    """`openOrder`."""
    return [
        5, order.order_id, *order.contract.fields, order.action, order.quantity, order.kind,
        order.limit, order.aux, order.life, "", order.account, "", 0, order.reference,
        order.client_id, order.perm_id, 0, 0, 0, "", "", "", "", "",
        "", order.good_till, "", "", "", 0, "", -1, 0, "", "", "", "", "", order.display,
        0, 0, 0, "", 0, 0, 0, "", 0, 0, "", 0, "", "",
        0, 0, order.trail_stop, order.trail_percent, "", "", "",
        0, 0, 0, "", "", "", "",
        0, "", "IB", 0, 0, "",
        0, 0, order.status, *[""] * 9, "", "", "", "", "", 0, 0,
        0, "None", "", order.trail_stop, "", "", "", "", 0, "", "", "", "", 0, 0, "", "",
        "", "", 0, "", "", "", "", "",
    ]  # fmt: skip


def show_completed_order(order: ShownOrder) -> list[Field]:
    """`completedOrder`."""
    return [
        101, *order.contract.fields, order.action, order.quantity, order.kind, order.limit,
        order.aux, order.life, "", order.account, "", 0, order.reference, order.perm_id, 0, 0, 0,
        "", "", "", "",
        "", order.good_till, "", "", "", 0, "", -1, "", "", "", "", "", order.display,
        0, 0, "", 0, 0, "", 0, "", "",
        0, 0, order.trail_stop, order.trail_percent, "",
        0, 0, 0, "", "", "", "",
        "", "IB", 0, 0, "", 0, order.status, 0, 0, 0,
        order.trail_stop, "", "", 0, 0, "", order.filled, 0, 0, "", 0, 0, "", "", order.words,
        "", "", "", "", "",
    ]  # fmt: skip


def show_status(order: ShownOrder) -> list[Field]:
    """`orderStatus`."""
    left = order.quantity - order.filled
    return [3, order.order_id, order.status, order.filled, left, "0.0", order.perm_id, 0, "0.0",
            order.client_id, "", "0.0"]  # fmt: skip


def show_error(request: int, code: int, words: str) -> list[Field]:
    """`error`: of a request or order, or (-1) of the connection."""
    return [4, 2, request, code, words, ""]


def show_details(request: int, contract: ShownContract) -> list[Field]:
    """`contractDetails`."""
    kinds = "ACTIVETIM,AD,DAY,GTC,GTD,IOC,LIT,LMT,LOC,MIT,MKT,MOC,OPG,STP,STPLMT,TRAIL"
    return [
        10, request, contract.symbol, "STK", "", "0.0", "", "SMART", contract.currency,
        contract.symbol, contract.symbol, contract.symbol, contract.con_id, contract.tick, "",
        kinds, f"SMART,{contract.primary}", 1, 0, contract.symbol, contract.primary, "", "", "",
        "", contract.time_zone, contract.hours, contract.hours, "", 0, 0, 1, "", "",
        f"{contract.con_id},{contract.con_id}", "", "COMMON", contract.least, contract.lot,
        contract.lot,
    ]  # fmt: skip
