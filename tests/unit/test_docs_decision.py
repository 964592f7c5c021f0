"""docs/decision.md shows the flow as it is."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from mailpush.decision import CHECKS, REASONS, decide, name_of
from tests.unit.decision.test_chain import test_each_row_refuses_with_its_reason as rows

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "decision.md").read_text()


@pytest.fixture(scope="module")
def flow() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_decision", DOCS / "decision.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_that_of_the_checks(flow: ModuleType) -> None:
    assert flow.main(["--check"]) == 0, "run `make docs`"
    assert flow.page(TEXT.replace("flowchart TD", "flowchart LR")) == TEXT


@pytest.mark.parametrize("name", [name_of(check) for check in CHECKS])
def test_each_check_stands_in_the_picture_and_beside_what_ox_asks(name: str) -> None:
    picture, _, prose = TEXT.partition("## Where to see it")
    assert f"--> {name}{{" in picture
    assert f"`{name}`" in prose


def test_the_picture_shows_every_reason_at_its_check_with_its_code(flow: ModuleType) -> None:
    assert {reason for refusals in flow.REFUSALS.values() for reason, _ in refusals} == REASONS
    (table,) = [mark for mark in rows.pytestmark if mark.name == "parametrize"]  # type: ignore[attr-defined]
    for user, site, check, reason, code in table.args[1]:
        assert decide(user, site).reason == reason
        assert (reason, code) in flow.REFUSALS[check], check
