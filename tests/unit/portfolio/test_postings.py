"""Cash that moves without a fill, in the books."""

from __future__ import annotations

import pytest

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import CashPosted
from onetape.domain.numbers import INT64_MAX
from onetape.domain.postings import PostingKind
from onetape.portfolio.ledger import NO_INSTRUMENT, Ledger
from tests.support.timelines import AAPL, EQUITY

ACCOUNTS = {
    PostingKind.BORROW_FEE: ("financing", -1),
    PostingKind.MARGIN_INTEREST: ("financing", -1),
    PostingKind.CREDIT_INTEREST: ("financing", -1),
    PostingKind.FUNDING: ("financing", -1),
    PostingKind.TRANSFER: ("capital", 1),
    PostingKind.FX_CONVERSION: ("exchanged", 1),
    PostingKind.VARIATION: ("realized", 1),
    PostingKind.SETTLEMENT: ("realized", 1),
    PostingKind.EXERCISE: ("realized", 1),
    PostingKind.FEE: ("fees", -1),
    PostingKind.DIVIDEND: ("income", 1),
}
"""The account of each kind, and the sign with which it takes what is received."""


def make_ledger() -> Ledger:
    ledger = Ledger("s0", "USD", [EQUITY])
    ledger.deposit(1_000)
    return ledger


def test_every_kind_has_an_account() -> None:
    assert list(ACCOUNTS) == list(PostingKind)


@pytest.mark.parametrize("kind", PostingKind)
@pytest.mark.parametrize("amount", [250, -250])
def test_posting_moves_cash_and_its_account_and_nothing_else(
    kind: PostingKind, amount: int
) -> None:
    ledger = make_ledger()
    before = ledger.save()
    posted = ledger.post(kind, amount, AAPL, "because")
    after = ledger.save()
    assert posted == CashPosted("s0", kind, AAPL, amount, "USD", 1_000 + amount, "because")
    account, sign = ACCOUNTS[kind]
    changed = {
        name: getattr(after, name) - getattr(before, name)
        for name in ("capital", "cash", "fees", "inventory", "realized", "income", "financing",
                     "exchanged")
        if getattr(after, name) != getattr(before, name)
    }  # fmt: skip
    assert changed == {"cash": amount, account: sign * amount}


def test_postings_survive_a_snapshot_of_the_books() -> None:
    ledger = make_ledger()
    ledger.post(PostingKind.BORROW_FEE, -3, AAPL)
    ledger.post(PostingKind.FX_CONVERSION, -100)
    again = Ledger("s0", "USD", [EQUITY])
    again.restore(ledger.save())
    assert again.save() == ledger.save()
    assert again.post(PostingKind.FUNDING, 3, NO_INSTRUMENT).cash == 900


def test_posting_beyond_int64_is_an_error() -> None:
    with pytest.raises(InvariantBroken, match="leaves int64"):
        make_ledger().post(PostingKind.FUNDING, INT64_MAX)


def test_books_out_of_balance_name_every_account() -> None:
    ledger = make_ledger()
    ledger.financing += 1
    with pytest.raises(InvariantBroken, match=r"financing 1 .* exchanged 0"):
        ledger.check()
