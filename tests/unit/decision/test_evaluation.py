"""From a spec and Secrets to files, settings and replicas."""

from typing import Any

import pytest

from mailpush.decision.evaluation import (
    InvalidSpecError,
    parse,
    wanted_replicas,
    wants_unregister,
)
from mailpush.properties.format import load
from mailpush.properties.secrets import MASTER_PASSWORD, ResolvedSecrets
from tests.unit.controller.builders import evaluation


def test_the_settings_are_those_that_a_listener_reads_from_the_files() -> None:
    found = evaluation(allowedClients=["phone*"])
    assert found.settings is not None
    assert found.settings.allowed_clients.match("phone-1")
    assert found.settings.mail is not None
    assert found.settings.mail.master_password == "secret word"
    assert found.valid
    assert not found.blocked


def test_the_annotation_before_an_uninstall_becomes_a_property() -> None:
    files = evaluation(unregister=True).rendered.directory
    assert any(load(text).get("mailpush.unregister") == "true" for text in files.values())
    assert not any("mailpush.unregister" in load(text) for text in evaluation().rendered.directory.values())
    assert wants_unregister({"metadata": {"annotations": {"mailpush.dev/unregister": "true"}}})
    assert not wants_unregister({"metadata": {}})


def test_verbatim_properties_that_cannot_be_read_block_the_configuration_and_are_named() -> None:
    found = evaluation(properties={"com.openexchange.push.imapidle.delay": "soon"})
    assert found.blocked
    assert found.settings is None
    assert "com.openexchange.push.imapidle.delay" in found.problems[-1].message


def test_a_spec_of_another_version_is_told_by_field() -> None:
    with pytest.raises(InvalidSpecError, match=r"listeners\.replicas"):
        parse({"spec": {"listeners": {"replicas": -1}}})


MISSING = ResolvedSecrets(hash_key=b"k", missing=(MASTER_PASSWORD,))
REPLICAS: tuple[tuple[str, dict[str, Any], int, int | None, int], ...] = (
    ("at first", {"listeners": {"replicas": 3}}, 0, None, 3),
    ("more", {"listeners": {"replicas": 5}}, 3, 2, 5),
    ("fewer, before the drain", {"listeners": {"replicas": 2}}, 4, 3, 4),
    ("fewer, while it drains", {"listeners": {"replicas": 2}}, 4, 2, 3),
    ("fewer, after the drain", {"listeners": {"replicas": 2}}, 4, 1, 2),
    ("none: nobody could take the slots", {"listeners": {"replicas": 0}}, 4, 3, 0),
    ("blocked and new", {"mailAccess": None, "listeners": {"replicas": 3}}, 0, None, 0),
    ("blocked and running", {"mailAccess": None, "listeners": {"replicas": 3}}, 2, 1, 2),
    ("a map that names more than there are", {"listeners": {"replicas": 2}}, 2, 9, 2),
)


@pytest.mark.parametrize(("name", "changes", "running", "highest", "wanted"), REPLICAS)
def test_replicas_follow_the_spec_but_never_leave_slots_behind(
    name: str, changes: dict[str, Any], running: int, highest: int | None, wanted: int
) -> None:
    assert wanted_replicas(evaluation(**changes), running, highest) == wanted, name


def test_a_missing_secret_blocks_so_that_a_webhook_is_never_sent_unsigned() -> None:
    assert evaluation(MISSING).blocked
