"""The rotation of the hand-over's key, with pods that see each step when their kubelet mounts it."""

import base64
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush import names
from mailpush.controller.configs.handover_keys import ROTATED_EVERY, STEP_SECONDS, next_step
from mailpush.controller.configs.property_files import new_internal_secret, new_key
from mailpush.controller.owner import Owner

OWNER = Owner("mail", "main", "u")
START = datetime(2026, 1, 1, tzinfo=UTC)
SHARED = (names.INTERNAL_KEY_FILE, names.PREVIOUS_KEY_FILE, names.NEXT_KEY_FILE)
Secret = dict[str, Any]


def merged(secret: Secret, patch: dict[str, Any]) -> Secret:
    annotations = {**secret["metadata"].get("annotations", {}), **patch["metadata"]["annotations"]}
    data = {key: value for key, value in {**secret["data"], **patch.get("data", {})}.items() if value is not None}
    return {"metadata": {**secret["metadata"], "annotations": annotations}, "data": data}


def made() -> Secret:
    secret = new_internal_secret(OWNER)
    secret["metadata"]["annotations"] = {names.KEY_STEP_ANNOTATION: "2026-01-01T00:00:00Z"}
    return secret


def history(rotations: int = 2) -> list[tuple[float, Secret]]:
    """Seconds from the start and the Secret from then on, the operator looking when it said that it would."""
    secret, seconds = made(), 0.0
    found = [(seconds, secret)]
    while len(found) <= 3 * rotations:
        step = next_step(secret, START + timedelta(seconds=seconds), new_key)
        if step.patch:
            secret = merged(secret, step.patch)
            found.append((seconds, secret))
        assert step.seconds > 0
        seconds += step.seconds
    return found


def test_each_step_has_its_time_and_only_the_keys_of_the_hand_over_change() -> None:
    found = history()
    assert [later - earlier for (earlier, _), (later, _) in itertools.pairwise(found)] == [
        ROTATED_EVERY,
        STEP_SECONDS,
        STEP_SECONDS,
    ] * 2
    assert len({secret["data"][names.HASH_KEY_FILE] for _, secret in found}) == 1
    steady = [secret["data"] for _, secret in found[::3]]
    assert all(set(data) == {names.INTERNAL_KEY_FILE, names.HASH_KEY_FILE} for data in steady)
    assert len({data[names.INTERNAL_KEY_FILE] for data in steady}) == 3


@given(st.integers(0, 9), st.floats(0, STEP_SECONDS), st.floats(0, STEP_SECONDS), st.floats(0, STEP_SECONDS))
def test_no_pod_ever_signs_with_a_key_that_another_does_not_take(
    step: int, after: float, mounts: float, other: float
) -> None:
    """`after`: seconds after a step; `mounts` and `other`: after how many the two pods' kubelets mount one."""
    found = history(rotations=3)
    moment = found[step][0] + after

    def seen(delay: float) -> list[str]:
        data = next(secret["data"] for at, secret in reversed(found) if at <= max(0.0, moment - delay))
        return [data[key] for key in SHARED if key in data]

    assert seen(mounts)[0] in seen(other)


def test_a_secret_from_before_the_rotation_keeps_its_hash_and_has_its_whole_time() -> None:
    key = base64.b64encode(b"o" * 32).decode()
    old: Secret = {"metadata": {}, "data": {names.INTERNAL_KEY_FILE: key}}
    step = next_step(old, START, new_key)
    secret = merged(old, step.patch)
    assert secret["data"] == {names.INTERNAL_KEY_FILE: key, names.HASH_KEY_FILE: key}
    assert step.seconds == ROTATED_EVERY
    again = next_step(secret, START + timedelta(seconds=1), new_key)
    assert (again.patch, again.seconds) == ({}, ROTATED_EVERY - 1)


def test_a_hash_key_that_somebody_took_away_is_not_made_of_a_key_that_signs() -> None:
    secret = made()
    del secret["data"][names.HASH_KEY_FILE]
    found = merged(secret, next_step(secret, START, new_key).patch)["data"]
    assert len(base64.b64decode(found[names.HASH_KEY_FILE])) == 32
    assert found[names.HASH_KEY_FILE] != found[names.INTERNAL_KEY_FILE]


@pytest.mark.parametrize("noted", ["", "yesterday", "2030-01-01T00:00:00Z"])
def test_a_time_that_is_none_or_to_come_is_noted_anew(noted: str) -> None:
    secret = made()
    secret["metadata"]["annotations"] = {names.KEY_STEP_ANNOTATION: noted}
    secret = merged(secret, next_step(secret, START, new_key).patch)
    assert secret["metadata"]["annotations"] == {names.KEY_STEP_ANNOTATION: "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize("broken", ["", "c2hvcnQ=", "no base64"])
def test_a_next_key_that_is_broken_is_made_anew_and_not_promoted(broken: str) -> None:
    secret = made()
    current = secret["data"][names.INTERNAL_KEY_FILE]
    secret["data"][names.NEXT_KEY_FILE] = broken
    after = merged(secret, next_step(secret, START + timedelta(seconds=STEP_SECONDS), new_key).patch)["data"]
    assert after[names.INTERNAL_KEY_FILE] == current
    assert len(base64.b64decode(after[names.NEXT_KEY_FILE])) == 32
