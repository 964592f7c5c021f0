"""The verdict of `make lifecycle`."""

import pytest

from dev.lifecycle.scenes import SCENES
from dev.lifecycle.troubles import TROUBLES
from dev.lifecycle.verdict import SUMS, Verdict


def test_a_run_is_good_until_a_step_is_wrong() -> None:
    verdict = Verdict("install")
    assert verdict.step("helm installs", True)
    assert verdict.good
    assert not verdict.step("mails are told", False, "main-1-3")
    assert not verdict.good
    assert verdict.figures()["wrong"] == ["install: mails are told"]
    assert verdict.figures()["steps"] == 2


@pytest.mark.parametrize("name", SUMS)
def test_a_run_is_bad_as_soon_as_a_sum_is_not_zero(name: str) -> None:
    verdict = Verdict()
    verdict.add(name, 0)
    assert verdict.good
    verdict.add(name, 1)
    assert not verdict.good
    assert verdict.figures()[name] == 1


def test_a_sum_that_nobody_reads_is_refused() -> None:
    with pytest.raises(ValueError, match="untold"):
        Verdict().add("untolds", 1)


def test_names_are_said_once() -> None:
    assert len({scene.name for scene in SCENES}) == len(SCENES)
    assert len({trouble.what for trouble in TROUBLES}) == len(TROUBLES)
