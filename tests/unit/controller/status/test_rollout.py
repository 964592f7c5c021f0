"""Which pods run which configuration: the status's words and counts."""

from dataclasses import replace

import pytest

from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView
from mailpush.controller.status.rollout import boot_hash_of, config_pods, rolled_out
from tests.unit.controller.builders import evaluation, pod, state, view


def running(ordinal: int, found: ConfigState, *, hash_: str | None = None, boot: str | None = None) -> PodView:
    """A pod that runs what is wanted, unless told otherwise."""
    assert found.evaluation is not None
    rendered = found.evaluation.rendered
    it = view(ordinal, config_hash=hash_ or rendered.config_hash)
    mounted = frozenset({"mail-push-main-properties", f"mail-push-main-boot-{boot or rendered.boot_hash}"})
    return replace(it, pod=replace(it.pod, config_maps=mounted))


def said(found: ConfigState, *pods: PodView) -> tuple[str, str, str]:
    verdict = rolled_out(found, pods)
    assert verdict is not None
    return verdict.status, verdict.reason, verdict.message


def test_it_is_rolled_out_once_every_capable_pod_runs_it() -> None:
    found = state()
    assert found.evaluation is not None
    status, reason, message = said(found, running(0, found), running(1, found))
    assert (status, reason) == ("True", "AllPods")
    assert found.evaluation.rendered.config_hash in message


def test_pods_that_are_behind_are_named() -> None:
    found = state()
    status, reason, message = said(found, running(0, found), running(1, found, hash_="old"))
    assert (status, reason) == ("False", "PodsBehind")
    assert "mail-push-main-1" in message
    assert "mail-push-main-0" not in message
    many = [running(ordinal, found, hash_="old") for ordinal in range(7)]
    assert "mail-push-main-4 and 2 more" in said(found, *many)[2]


def test_pods_that_were_started_with_another_boot_configuration_are_being_replaced() -> None:
    found = state()
    status, reason, message = said(found, running(0, found), running(1, found, boot="0123456789abcdef"))
    assert (status, reason) == ("False", "Restarting")
    assert message.startswith("mail-push-main-1 run with settings that take a restart")


def test_a_configuration_that_is_not_whole_is_not_rolled_out() -> None:
    found = state(evaluation(mailAccess=None))
    assert said(found, view(0, config_hash="old"))[:2] == ("False", "NotRolledOut")


def test_without_a_capable_pod_nobody_knows() -> None:
    found = state()
    assert said(found, view(0, capable=False))[:2] == ("Unknown", "NoPods")
    assert rolled_out(found, ()) is None
    assert rolled_out(ConfigState(found.owner, 1, {}), (view(0),)) is None


def test_pods_are_counted_and_named_by_what_they_run() -> None:
    found = state()
    pods = (
        running(1, found, hash_="new", boot="b1"),
        running(0, found, hash_="new", boot="b1"),
        running(2, found, hash_="new", boot="b2"),
        view(3, config_hash="old"),
        view(4),
    )
    assert config_pods("main", pods) == [
        {"hash": "new", "bootHash": "b1", "pods": 2, "names": ["mail-push-main-0", "mail-push-main-1"]},
        {"hash": "new", "bootHash": "b2", "pods": 1, "names": ["mail-push-main-2"]},
        {"hash": "old", "pods": 1, "names": ["mail-push-main-3"]},
    ]


@pytest.mark.parametrize(
    ("config_maps", "expected"),
    [
        (frozenset(), None),
        (frozenset({"mail-push-main-properties"}), None),
        (frozenset({"mail-push-main-properties", "mail-push-main-boot-abc"}), "abc"),
        (frozenset({"mail-push-maintenance-boot-abc"}), None),
    ],
)
def test_what_a_pod_was_started_with_is_seen_by_what_it_mounts(
    config_maps: frozenset[str], expected: str | None
) -> None:
    assert boot_hash_of("main", pod(0, config_maps=config_maps)) == expected
