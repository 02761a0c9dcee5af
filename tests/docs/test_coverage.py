"""Whatever has a name in the code that a reader may meet is told on its page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from onetape.control import boundary
from onetape.domain.orders import DenialCode, TimeInForce
from onetape.execution.simulated.fees import FeeModel
from onetape.execution.simulated.slippage import SlippageModel
from onetape.marketdata.quality import Repair
from onetape.runtime.sessions import session_status
from onetape.strategy import checks
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from tests.docs.pages import ROOT

DECISIONS = sorted((ROOT / "docs" / "decisions").glob("0*.md"))


def words(page: str) -> set[str]:
    """Everything that stands in backticks on a page, and its parts."""
    quoted = re.findall(r"`([^`\n]+)`", (ROOT / page).read_text(encoding="utf-8"))
    return {part for each in quoted for part in [each, *re.split(r"[(\s,|]", each)]}


def operator_words() -> set[str]:
    """What `status` says of a pause, and the commands that an operator has."""
    said = {f"paused: {each}" for each in session_status.PAUSES.values()}
    return said | {
        "BUSY",
        "STUCK",
        "PASSED OVER",
        "KILL SWITCH is set",
        "quarantined",
        "connecting",
    }


def public(kind: type) -> set[str]:
    return {name for name in vars(kind) if not name.startswith("_")}


def validator_codes() -> set[str]:
    """Codes in the tables of the checks' docstrings."""
    (folder,) = checks.__path__
    texts = [path.read_text(encoding="utf-8") for path in Path(folder).glob("*.py")]
    return {code for text in texts for code in re.findall(r"^\| `([a-z-]+)`", text, re.MULTILINE)}


CONTEXT = {f"ctx.{name}" for name in public(Context) - {"intent_count", "queue", "units"}}
CALLBACKS = {name for name in public(Strategy) if name.startswith("on_")}
MODELS = {
    kind.__struct_config__.tag for model in (FeeModel, SlippageModel) for kind in get_args(model)
}


@pytest.mark.parametrize(
    ("page", "named"),
    [
        ("docs/strategies.md", CONTEXT | CALLBACKS | {"generate_orders", "check_params"}),
        ("docs/strategies.md", validator_codes()),
        ("docs/fills.md", MODELS | {each.name for each in TimeInForce}),
        ("docs/runbook.md", operator_words()),
        ("docs/data.md", {each.value for each in Repair}),
    ],
)
def test_page_names_everything(page: str, named: set[str]) -> None:
    assert len(named) > 2
    assert named - words(page) == set()


def test_every_denial_is_told() -> None:
    codes = {each.value for each in DenialCode}
    assert codes - words("docs/risk.md") - words("docs/orders.md") == set()


@pytest.mark.parametrize("page", ["README.md", "docs/cli.md"])
def test_every_exit_code_is_told(page: str) -> None:
    codes = re.findall(r"^\| (\d+) ", boundary.__doc__ or "", re.MULTILINE)
    text = (ROOT / page).read_text(encoding="utf-8")
    assert len(codes) == 7
    assert [code for code in codes if not re.search(rf"\b{code}\b", text)] == []


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    assert [each.name[:4] for each in DECISIONS] == [f"{n + 1:04}" for n in range(len(DECISIONS))]
    assert [each.name for each in DECISIONS if f"({each.name})" not in index] == []
