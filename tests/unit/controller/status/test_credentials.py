"""The conditions of the credential storage."""

from typing import Any

import pytest

from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.config import config_status
from mailpush.controller.status.credentials import credential_verdicts, storage_status
from mailpush.controller.status.pod import PodView
from mailpush.controller.status.shard_map import MapView
from mailpush.credentials.ox.rules import Refusal, sentence
from mailpush.properties.secrets import PASSCRYPT, PASSCRYPT_PREVIOUS, ResolvedSecrets
from mailpush.sharding.leases import RotationReport, WritesReport
from mailpush.sharding.planning.death import PodLife
from tests.unit.controller.builders import evaluation, state, view

REFERENCE = {"name": "passcrypt", "key": "passcrypt"}
REDIS = {"url": "redis://redis:6379/0"}


def storing(storage: dict[str, Any] | None = None, *, previous: bool = False, **changes: Any) -> ConfigState:
    """A MailPushConfig that takes passwords from the storage."""
    fields = {"enabled": True, "passcryptSecretRef": REFERENCE, **(storage or {})}
    values = {PASSCRYPT: "planted-passcrypt"}
    if previous:
        fields["passcryptPreviousSecretRef"] = {"name": "passcrypt", "key": "previous"}
        values[PASSCRYPT_PREVIOUS] = "planted-previous"
    access = {"passwordSource": "session", "servers": [{"host": "dovecot"}]}
    resolved = ResolvedSecrets(hash_key=b"k" * 32, values=values)
    return state(evaluation(resolved, credentialStorage=fields, mailAccess=access, **{"redis": REDIS, **changes}))


def said(it: ConfigState, *pods: PodView) -> dict[str, Verdict]:
    return {verdict.type: verdict for verdict in credential_verdicts(it, pods)}


def test_where_all_is_well_it_says_so_and_where_there_is_no_storage_nothing() -> None:
    verdicts = said(storing(), view(0, passcrypt="a"), view(1, passcrypt="a"))
    assert {(one.type, one.status) for one in verdicts.values()} == {
        ("CredentialsVolatile", "True"),
        ("PasscryptMismatch", "False"),
        ("CredentialStorageDegraded", "False"),
    }
    assert said(state(evaluation()), view(0, storage="MemoryUnreachable")) == {}
    assert set(said(storing())) == {"CredentialsVolatile"}
    assert storage_status(state(evaluation()), (view(0),)) is None
    assert storage_status(storing(), (view(0),)) == {}


def test_a_pod_that_has_another_passcrypt_than_the_store_is_named() -> None:
    other = view(1, capable=False, reason="PasscryptMismatch", storage="PasscryptMismatch", passcrypt="b")
    verdicts = said(storing(), view(0, passcrypt="a"), other, view(2, passcrypt="a"))
    one = verdicts["PasscryptMismatch"]
    assert (one.status, one.reason) == ("True", "PodsDiffer")
    assert "mail-push-main-1 of 3 pods" in one.message
    assert "mail-push-main-0" not in one.message
    assert verdicts["CredentialStorageDegraded"].status == "False"


def test_where_no_pod_has_the_stores_passcrypt_the_secret_is_wrong() -> None:
    pods = [view(number, capable=False, storage="PasscryptMismatch", passcrypt="b") for number in range(3)]
    one = said(storing(), *pods)["PasscryptMismatch"]
    assert (one.status, one.reason) == ("True", "StoreDiffers")
    assert "all 3 pods" in one.message
    assert "nothing is deleted" in one.message


def test_pods_whose_passcrypts_differ_are_named_also_where_the_store_has_said_nothing() -> None:
    """A store that is away, or OX's table, judges nobody."""
    pods = [view(0, passcrypt="a"), view(1, passcrypt="b"), view(2, passcrypt="a"), view(3)]
    one = said(storing(), *pods)["PasscryptMismatch"]
    assert (one.status, one.reason) == ("True", "PodsDiffer")
    assert "mail-push-main-1 of 4 pods" in one.message


@pytest.mark.parametrize("life", [PodLife.EXPIRED, PodLife.RELEASED])
def test_what_a_dead_pod_said_last_counts_no_more(life: PodLife) -> None:
    dead = view(1, life, passcrypt="b", storage="PasscryptMismatch")
    assert said(storing(), view(0, passcrypt="a"), dead)["PasscryptMismatch"].status == "False"


def test_a_storage_that_is_away_is_told_with_its_word_and_how_many_pods_have_it() -> None:
    pods = [view(0, storage="MemoryUnreachable"), view(1, storage="MemoryUnreachable"), view(2, storage="MemoryFull")]
    one = said(storing(), *pods)["CredentialStorageDegraded"]
    assert (one.status, one.reason) == ("True", "MemoryUnreachable")
    assert "2 of 3 pods" in one.message
    assert "listeners that run go on" in one.message


@pytest.mark.parametrize(
    ("storage", "changes", "status", "reason"),
    [
        ({}, {}, "True", "ClusterMemory"),
        ({}, {"redis": None, "listeners": {"replicas": 1}}, "True", "ProcessMemory"),
        ({"rdb": True}, {"listeners": {"replicas": 1}}, "True", "FileOfPod"),
        ({"rdb": True, "database": {"url": "sqlite:////d/a.db"}}, {"listeners": {"replicas": 1}}, "True", "FileOfPod"),
        ({"rdb": True, "database": {"url": "mysql://mariadb:3306/mailpush"}}, {}, "False", "Database"),
        (
            {"ox": {"credentials": "read", "database": {"url": "mysql://mariadb:3306/configdb"}}},
            {},
            "False",
            "OxTable",
        ),
    ],
)
def test_it_says_where_passwords_are_gone_with_what_holds_them(
    storage: dict[str, Any], changes: dict[str, Any], status: str, reason: str
) -> None:
    one = said(storing(storage, **changes))["CredentialsVolatile"]
    assert (one.status, one.reason) == (status, reason)


WRITING: dict[str, Any] = {
    "ox": {"credentials": "readWrite", "form": "argon", "database": {"url": "mysql://mariadb:3306/configdb"}}
}


@pytest.mark.parametrize("refusal", list(Refusal))
def test_what_ox_table_does_not_take_is_said_with_what_to_do(refusal: Refusal) -> None:
    report = WritesReport(3, 2, refusal.value, "oxdatabase_5")
    one = said(storing(WRITING), view(0, writes=report), view(1))["CredentialWritesRefused"]
    assert (one.status, one.reason) == ("True", refusal.value)
    assert "2 of 3 schemas of OX" in one.message
    assert sentence(refusal, "oxdatabase_5") in one.message
    assert one.message.endswith("What stands there is read as before")


def test_a_table_that_takes_all_is_said_and_one_that_is_only_read_is_no_matter() -> None:
    one = said(storing(WRITING), view(0, writes=WritesReport(3)))["CredentialWritesRefused"]
    assert (one.status, one.reason) == ("False", "Taken")
    assert "form argon in all 3 schemas" in one.message
    assert "CredentialWritesRefused" not in said(storing(WRITING), view(0))
    reading = {"ox": {**WRITING["ox"], "credentials": "read"}}
    assert "CredentialWritesRefused" not in said(
        storing(reading), view(0, writes=WritesReport(3, 1, "LegacyRows", "a"))
    )
    newer = said(storing(WRITING), view(0, writes=WritesReport(3, 1, "OfALaterVersion", "a")))
    assert newer["CredentialWritesRefused"].reason == "OfALaterVersion"


@pytest.mark.parametrize(
    ("rotations", "text", "needed"),
    [
        ((None, None), "waiting", True),
        ((RotationReport(100, 40, 0), RotationReport(100, 70, 2)), "70/100, 2 unreadable", True),
        ((RotationReport(0), RotationReport(0, waits="l-2 has the former")), "waiting: l-2 has the former", True),
        ((RotationReport(100, 40, waits="away"), RotationReport(0)), "40/100, waiting: away", True),
        ((RotationReport(100, 100, 0, True), None), "finished", True),
        ((RotationReport(100, 100, 0, True), RotationReport(100, 0)), "finished", False),
        ((RotationReport(100, 100, 3, True), RotationReport(100, 0)), "finished, 3 unreadable", False),
    ],
)
def test_the_previous_passcrypt_is_needed_until_a_pod_has_finished_and_all_have_it(
    rotations: tuple[RotationReport | None, ...], text: str, needed: bool
) -> None:
    it = storing(previous=True)
    assert it.evaluation is not None
    wanted = it.evaluation.rendered.config_hash
    pods = tuple(view(number, rotation=one, config_hash=wanted) for number, one in enumerate(rotations))
    found = storage_status(it, pods)
    assert found is not None
    assert found["rotation"]["text"] == text
    assert found["previousNeeded"] is needed


def test_the_end_of_a_former_rotation_does_not_count_for_pods_that_have_not_read_of_the_next_one() -> None:
    """Another previous passcrypt may stand in the same key of the same Secret: the spec is the same then."""
    finished = RotationReport(100, 100, 0, True)
    before = storage_status(storing(previous=True), (view(0, rotation=finished, config_hash="of before"),))
    assert before == {"rotation": {"text": "waiting"}, "previousNeeded": True}


DATABASE = {"rdb": True, "database": {"url": "mysql://mariadb:3306/mailpush"}}


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (None, "waiting"),
        (RotationReport(100, 40, 0), "40/100"),
        (RotationReport(100, 40, 1, waits="away"), "40/100, waiting: away, 1 unreadable"),
        (RotationReport(100, 100, 0, True), "finished, 100 entries"),
        (RotationReport(0, 0, 0, True), "finished, 0 entries"),
    ],
)
def test_it_says_how_far_the_memory_is_copied_to_the_database(report: RotationReport | None, text: str) -> None:
    it = storing(DATABASE)
    assert it.evaluation is not None
    pods = (view(0, migration=report, config_hash=it.evaluation.rendered.config_hash), view(1))
    found = storage_status(it, pods)
    assert found is not None
    assert found["migration"]["text"] == text
    former = storage_status(it, (view(0, migration=RotationReport(9, 9, 0, True), config_hash="of before"),))
    assert former == {"migration": {"text": "waiting"}}
    assert storage_status(storing(DATABASE, redis=None), pods) == {}
    assert storage_status(storing(), pods) == {}


def test_the_previous_passcrypt_is_needed_while_something_is_to_be_copied_that_may_stand_under_it() -> None:
    it = storing(DATABASE, previous=True)
    assert it.evaluation is not None
    said: dict[str, Any] = {
        "rotation": RotationReport(9, 9, 0, True),
        "config_hash": it.evaluation.rendered.config_hash,
    }
    for migration, needed in ((None, True), (RotationReport(9, 4), True), (RotationReport(9, 9, 0, True), False)):
        found = storage_status(it, (view(0, migration=migration, **said),))
        assert found is not None
        assert found["previousNeeded"] is needed


def test_that_a_passcrypt_was_made_is_never_forgotten() -> None:
    """Its Secret may be deleted later, also while the storage is off or its settings cannot be read."""
    made = storing({"passcryptSecretRef": None, "generatePasscrypt": True})
    assert storage_status(made, ()) == {"passcryptMade": True}
    before = {"credentialStorage": {"passcryptMade": True}}
    later = state(evaluation(), status_version="9")
    later.body_status = before
    assert storage_status(later, ()) == {"passcryptMade": True}
    assert storage_status(storing(), ()) == {}


def test_they_stand_in_the_status_and_ready_points_to_them() -> None:
    it = storing(previous=True)
    assert it.evaluation is not None
    said: dict[str, Any] = {"rotation": RotationReport(9, 4), "config_hash": it.evaluation.rendered.config_hash}
    pods = (view(0, storage="MemoryUnreachable", counts={"listening": 3}, **said),)
    status = config_status(it, pods, MapView(1, users=3), {}, "2026-01-01T00:00:00Z")
    by_type = {one["type"]: one for one in status["conditions"]}
    assert by_type["CredentialStorageDegraded"]["status"] == "True"
    assert "see CredentialStorageDegraded" in by_type["Ready"]["message"]
    assert status["credentialStorage"]["rotation"]["done"] == 4
    assert "planted" not in str(status)
