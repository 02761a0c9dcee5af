"""Cash that moves without a fill, and the account it is booked against."""

from __future__ import annotations

from enum import Enum


class PostingKind(Enum):
    """Why cash moved.

    | kind              | booked against | what                                                 |
    | ----------------- | -------------- | ---------------------------------------------------- |
    | `borrow_fee`      | financing      | for lots that are held short                         |
    | `margin_interest` | financing      | for cash below zero                                  |
    | `credit_interest` | financing      | on cash above zero                                   |
    | `funding`         | financing      | between longs and shorts of a perpetual              |
    | `transfer`        | capital        | capital between strategies                           |
    | `fx_conversion`   | exchanged      | one leg of an exchange of currencies                 |
    | `variation`       | realized       | daily settlement of a future                         |
    | `settlement`      | realized       | final settlement in cash                             |
    | `exercise`        | realized       | cash in lieu of fractions that an option delivers    |
    | `fee`             | fees           | a charge of its own, such as that of a liquidation   |
    | `dividend`        | income         | a dividend on its pay date                           |
    """

    BORROW_FEE = "borrow_fee"
    MARGIN_INTEREST = "margin_interest"
    CREDIT_INTEREST = "credit_interest"
    FUNDING = "funding"
    TRANSFER = "transfer"
    FX_CONVERSION = "fx_conversion"
    VARIATION = "variation"
    SETTLEMENT = "settlement"
    EXERCISE = "exercise"
    FEE = "fee"
    DIVIDEND = "dividend"
