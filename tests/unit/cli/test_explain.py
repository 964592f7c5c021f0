"""`kubectl mailpush explain` on files and on what a cluster has: each row, the reason, the code, what to do."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from mailpush.cli.kubectl.evidence import Evidence
from mailpush.cli.kubectl.explain import lines
from mailpush.cli.kubectl.explanation import explanation
from mailpush.cli.kubectl.kubeconfig import namespace_of
from mailpush.cli.kubectl.main import main
from mailpush.decision import CHECKS
from mailpush.packages import DOVECOT, IMAPIDLE, MAILNOTIFY
from mailpush.sharding.shardmap import PodRef, ShardMap
from mailpush.sharding.slots import slot_of

CLIENT = "open-xchange-mobile-api-facade"
SPEC: dict[str, Any] = {
    "packages": {"status": {DOVECOT: "enabled"}},
    "mailAccess": {
        "passwordSource": "global",
        "masterPasswordSecretRef": {"name": "master", "key": "password"},
        "servers": [{"name": "default", "host": "dovecot"}],
    },
    "redis": {"url": "redis://redis"},
    "transports": {"webhooks": [{"name": "devices", "url": "https://devices.example.org/"}]},
}
SECRETS: dict[str, Any] = {
    "mailAccess": {"passwordSource": "session", "userSecrets": {"enabled": True}, "servers": [{"host": "dovecot"}]}
}
PASSWORD = "correct horse"


def config(**changes: Any) -> dict[str, Any]:
    return {"apiVersion": "mailpush.dev/v1alpha1", "kind": "MailPushConfig", "metadata": {"name": "main"},
            "spec": SPEC | changes}  # fmt: skip


def user(number: int = 3, *, of: str = "main", **changes: Any) -> dict[str, Any]:
    spec = {"configRef": {"name": of}, "contextId": 1, "userId": number, "clients": [CLIENT], "login": "anton"}
    return {"apiVersion": "mailpush.dev/v1alpha1", "kind": "PushUser", "metadata": {"name": f"{of}-1-{number}"},
            "spec": {key: value for key, value in (spec | changes).items() if value is not None}}  # fmt: skip


def secret(
    name: str, kind: str = "mailpush.dev/credentials", use: str = "master-password", **data: str
) -> dict[str, Any]:
    metadata = {
        "name": name,
        "labels": {"mailpush.dev/use": use},
        "annotations": {"mailpush.dev/push-users": "main-1-3"},
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "stringData": data}


class Asked:
    """What the command answers."""

    def __init__(self, folder: Path, *documents: dict[str, Any], arguments: tuple[str, ...] = ("1", "3")) -> None:
        file = folder / "manifests.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        result = CliRunner().invoke(main, ["explain", "-f", str(file), *arguments])
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr
        assert PASSWORD not in result.output


Row = tuple[str, str, str | None]
"""Name of the check, reason and code."""

ROWS: tuple[tuple[dict[str, Any], dict[str, Any], tuple[dict[str, Any], ...], str, str, str | None], ...] = (
    ({}, {"of": "gone"}, (), "config_exists", "ConfigNotFound", None),
    ({"allowPermanentPush": False}, {}, (), "permanent_push_allowed", "PermanentPushDisabled", None),
    ({"packages": {"status": {}}}, {}, (), "package_enabled", "NoPushPackage", None),
    ({"packages": {"status": {IMAPIDLE: "enabled"}}}, {}, (), "package_supports_permanent", "PermanentNotSupported",
     "PUSH-0009"),
    ({}, {"clients": []}, (), "client_registered", "NotRegistered", "PUSH-0008"),
    ({"allowedClients": ["other*"]}, {}, (), "client_allowed", "ClientNotAllowed", None),
    ({}, {"suspend": True}, (), "user_active", "Suspended", None),
    ({"mechanisms": {"dovecot": {"enabled": False}}}, {}, (), "mechanism_enabled", "MechanismDisabled", None),
    ({"mailAccess": None}, {}, (), "mail_access_configured", "MailAccessMissing", None),
    ({}, {"server": "gone"}, (), "server_known", "ServerUnknown", None),
    (SECRETS, {"credentialsSecretRef": {"name": "his"}}, (secret("his", "Opaque", password=PASSWORD),),
     "secret_permitted", "SecretNotPermitted", None),
    ({}, {}, (secret("master", other=PASSWORD),), "password_available", "MasterPasswordMissing", "PUSH-0005"),
    (SECRETS, {}, (), "password_available", "PasswordMissing", "PUSH-0006"),
    (SECRETS, {"credentialsSecretRef": {"name": "his"}}, (secret("his", login="a"),),
     "password_available", "PasswordMissing", "PUSH-0006"),
    ({}, {"login": None}, (), "login_known", "LoginMissing", "PUSH-0007"),
)  # fmt: skip


@pytest.mark.parametrize(("site", "who", "more", "row"), [(*case[:3], case[3:]) for case in ROWS])
def test_each_row_refuses_with_reason_code_and_what_to_do(
    tmp_path: Path, site: dict[str, Any], who: dict[str, Any], more: tuple[dict[str, Any], ...], row: Row
) -> None:
    check, reason, code = row
    documents = (config(**site), user(**who), *more)
    text = Asked(tmp_path, *documents)
    assert text.code == 1, text.err
    refused = [line.split() for line in text.out.splitlines() if " NO " in line]
    assert [(words[1], words[3].rstrip(":")) for words in refused] == [(check, reason)]
    assert f"{reason} ({code}): " in text.out if code else f"{reason}: " in text.out
    answer = json.loads(Asked(tmp_path, *documents, arguments=("1", "3", "-o", "json")).out)
    assert (answer["spawn"], answer["reason"], answer["code"]) == (False, reason, code)
    (refusal,) = [one for one in answer["rows"] if one["outcome"] == "refused"]
    assert (refusal["check"], refusal["reason"], refusal["message"]) == (check, reason, answer["message"])


def test_who_passes_every_row_is_to_be_listened_for(tmp_path: Path) -> None:
    asked = Asked(tmp_path, config(), user(), secret("master", password=PASSWORD))
    assert asked.code == 0
    assert asked.out.splitlines()[0] == "main-1-3: a permanent listener is to run, by dovecot"
    assert f"slot {slot_of(1, 3)}" in asked.out
    answer = json.loads(
        Asked(tmp_path, config(), user(), arguments=("1", "3", "-o", "json")).out,
    )
    assert [row["check"] for row in answer["rows"]] == [
        "config_exists",
        *(check.__name__ for check in CHECKS),
        "config_usable",
    ]
    assert answer["notes"] == ["Secret master was not looked at; it is taken to be as it should"]


@pytest.mark.parametrize(
    ("site", "reason"),
    [
        ({"listeners": {"replicas": 0}}, "ListenersScaledToZero"),
        ({"properties": {"com.openexchange.dovecot.doveadm.enabled": "true"}}, "DoveadmIncomplete"),
        ({"mechanisms": {"imapidle": {"accountId": 1}}}, "NotYetSupported"),
        ({"properties": {"com.openexchange.push.imapidle.accountId": "1"}}, "NotYetSupported"),
        ({"packages": {"status": {DOVECOT: "enabled", MAILNOTIFY: "enabled"}}}, "NotYetSupported"),
    ],
)
def test_where_no_pod_runs_by_the_config_nobody_is_said_to_be_listened_for(
    tmp_path: Path, site: dict[str, Any], reason: str
) -> None:
    asked = Asked(tmp_path, config(**site), user(), secret("master", password=PASSWORD))
    assert asked.code == 1
    assert asked.out.splitlines()[0].startswith(f"main-1-3: not listened for: {reason}: ")
    (refused,) = [line.split() for line in asked.out.splitlines() if " NO " in line]
    assert refused[1] == "config_usable"


def test_warnings_are_printed_as_well(tmp_path: Path) -> None:
    asked = Asked(tmp_path, config(transports={}), user())
    assert "note: MailPushConfig main has a warning: NobodyNotified: transports.webhooks is empty" in asked.out


@pytest.mark.parametrize(
    ("documents", "arguments", "sentence"),
    [
        ((config(), user(13), user(31)), ("1", "3"), "there is no PushUser <config>-1-3; near it: main-1-"),
        ((config(),), ("1", "3"), "nobody is registered here"),
        ((config(), user(), user(of="idle")), ("1", "3"), "(idle, main): add --config NAME"),
        ((config(), user()), ("1", "3", "--config", "idle"), "there is no PushUser idle-1-3; near it: main-1-3"),
        ((config(alowPermanentPush=True), user()), ("1", "3"), "MailPushConfig main: spec.alowPermanentPush"),
        (
            (config(), user(suspended=True)),
            ("1", "3"),
            "PushUser main-1-3: spec.suspended: there is no such field; near it: suspend",
        ),
    ],
)
def test_trouble_is_said_with_what_to_do(
    tmp_path: Path, documents: tuple[dict[str, Any], ...], arguments: tuple[str, ...], sentence: str
) -> None:
    asked = Asked(tmp_path, *documents, arguments=arguments)
    assert (asked.code, asked.out) == (2, "")
    assert sentence in asked.err


def test_a_file_that_is_no_yaml_is_named_without_its_text(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(f"kind: Secret\nstringData: {{password: {PASSWORD}\n")
    result = CliRunner().invoke(main, ["explain", "-f", str(file), "1", "3"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"kubectl mailpush explain: {file} is no YAML in line")
    assert PASSWORD not in result.output


def test_the_items_of_a_list_count(tmp_path: Path) -> None:
    assert Asked(tmp_path, {"kind": "List", "items": [config(), user()]}).code == 0


# -- what a cluster has besides


def live(said: dict[str, Any] | None = None, *, generation: int = 1, **changes: Any) -> Evidence:
    one, two = PodRef("mail-push-main-0", "u0"), PodRef("mail-push-main-1", "u1")
    shard_map = ShardMap(5, restoring=False, pods=(one, two), owners=(0,) * 16_384)
    who = user()
    who["metadata"]["generation"] = generation
    conditions: list[dict[str, Any]] = [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "yes"}]
    if said is not None:
        conditions.append({"type": "Listening", "observedGeneration": 1, "message": "so it is", **said})
    who["status"] = {"pod": one.name, "conditions": conditions}
    evidence = Evidence(who, config(), {}, frozenset({"master"}), {"spec": shard_map.to_spec()}, live=True)
    return replace(evidence, **changes)


@pytest.mark.parametrize(
    ("evidence", "spawn", "reason", "last"),
    [
        (live({"status": "True", "reason": "Registered"}), True, "Accepted", "passed"),
        (live({"status": "Unknown", "reason": "OwnerLost"}), True, "Accepted", "not known"),
        (live(), True, "Accepted", "not known"),
        (live({"status": "False", "reason": "NoMetadata"}), False, "NoMetadata", "refused"),
        (live({"status": "False", "reason": "AuthenticationFailed"}), False, "AuthenticationFailed", "refused"),
        (live({"status": "False", "reason": "Suspended"}, generation=2), True, "Accepted", "not known"),
        (live({"status": "True", "reason": "Registered"}, shard_map=None), False, "NotAssigned", "not reached"),
        (
            live(
                {"status": "True", "reason": "Registered"},
                config=config(listeners={"podOverrides": [{"ordinal": 0, "allowPermanentPush": False}]}),
            ),
            False,
            "PodExcluded",
            "not reached",
        ),
    ],
)
def test_a_cluster_says_where_the_user_is_and_whether_it_works(
    evidence: Evidence, spawn: bool, reason: str, last: str
) -> None:
    found = explanation(evidence)
    assert (found.spawn, found.reason, found.rows[-1].outcome) == (spawn, reason, last)
    owner = "no pod" if reason == "NotAssigned" else "mail-push-main-0"
    assert f"slot {slot_of(1, 3)}, owned by {owner}" in lines(found)
    assert found.code == ("PUSH-0010" if reason == "AuthenticationFailed" else None)


@pytest.mark.parametrize(
    ("credentials", "told"),
    [
        (None, None),
        ({"source": "storage"}, "credentials: storage, credentialsLastWorked: never"),
        (
            {"source": "userSecret", "lastWorked": "2026-11-26T19:00:00Z"},
            "credentials: userSecret, credentialsLastWorked: 2026-11-26T19:00:00Z",
        ),
    ],
)
def test_it_says_which_credentials_the_pod_uses_and_when_they_last_worked(
    credentials: dict[str, str] | None, told: str | None
) -> None:
    evidence = live({"status": "True", "reason": "Registered"})
    if credentials is not None:
        evidence.user["status"]["credentials"] = credentials
    (status,) = [line for line in lines(explanation(evidence)) if line.startswith("status:")]
    assert (told in status) if told else ("credentials" not in status)


def test_a_stored_password_that_is_missing_has_ox_s_code() -> None:
    said = {"status": "False", "reason": "CredentialsMissing", "message": "there is none: put it (PUSH-0006)"}
    found = explanation(live(said))
    assert (found.reason, found.code, found.message) == ("CredentialsMissing", "PUSH-0006", "there is none: put it")


def test_an_operator_that_says_otherwise_is_quoted() -> None:
    found = explanation(live(config=config(allowedClients=["other*"])))
    assert found.reason == "ClientNotAllowed"
    assert "the operator's last word is Accepted=True, Accepted: yes" in found.notes


def test_a_missing_master_password_of_a_cluster_is_seen() -> None:
    found = explanation(live(secrets={"master": None}, unread=frozenset()))
    assert (found.reason, found.code) == ("MasterPasswordMissing", "PUSH-0005")


def test_the_namespace_is_the_contexts_as_in_kubectl(tmp_path: Path) -> None:
    path = tmp_path / "config"
    contexts = [{"name": "a", "context": {"namespace": "mail"}}, {"name": "b", "context": {}}]
    path.write_text(yaml.safe_dump({"current-context": "a", "contexts": contexts}))
    assert [namespace_of([path]), namespace_of([path], "b"), namespace_of([tmp_path / "none"])] == [
        "mail", "default", "default",
    ]  # fmt: skip


def test_files_are_explained_without_the_libraries_of_a_cluster(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all([config(), user()]))
    script = (
        "import sys\nfrom mailpush.cli.kubectl.explain import run\n"
        f"run(1, 3, files=[{str(file)!r}], config=None, namespace=None, kubeconfig=None, context=None, output='text')\n"
        "print(sorted({'kubernetes', 'kopf', 'aiohttp', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
