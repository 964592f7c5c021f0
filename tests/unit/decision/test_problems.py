"""What keeps a MailPushConfig from working, said with what to do."""

from typing import Any

import pytest

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.decision import config_problems, config_warnings, property_problems
from mailpush.packages import DOVECOT, MAILNOTIFY, REST
from mailpush.properties.read import read
from mailpush.properties.render import render
from mailpush.properties.secrets import ResolvedSecrets

SPEC: dict[str, Any] = {
    "packages": {"status": {DOVECOT: "enabled"}},
    "mailAccess": {
        "passwordSource": "global",
        "masterPasswordSecretRef": {"name": "master", "key": "password"},
        "servers": [{"name": "default", "host": "dovecot"}],
    },
}


def problems(**changes: Any) -> list[str]:
    return [problem.reason for problem in config_problems(MailPushConfigSpec.model_validate(SPEC | changes))]


def test_the_block_of_the_page_alone_says_which_values_to_add() -> None:
    spec = MailPushConfigSpec.model_validate({"packages": {"status": {DOVECOT: "enabled"}}})
    (problem,) = config_problems(spec)
    assert problem.reason == "MailAccessMissing"
    assert problem.message == (
        "listeners cannot reach the mailboxes: set mailAccess.servers (at least one, with its host) and "
        'mailAccess.passwordSource ("global" with mailAccess.masterPasswordSecretRef, or "session" with '
        "mailAccess.userSecrets.enabled: true); as values of the chart these are "
        "mailPushConfig.spec.mailAccess.servers and mailPushConfig.spec.mailAccess.passwordSource"
    )


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, []),
        ({"mailAccess": {**SPEC["mailAccess"], "servers": []}}, ["MailAccessMissing"]),
        ({"packages": {"status": {}}}, ["NoPushPackage"]),
        ({"packages": {"status": {DOVECOT: "enabled", REST: "disabled"}}}, ["PackageConflict"]),
        ({"packages": {"status": {MAILNOTIFY: "enabled"}}}, ["NotYetSupported"]),
        (
            {"credentialStorage": {"enabled": True, "passcryptSecretRef": {"name": "p", "key": "k"}}},
            ["NotYetSupported"],
        ),
        ({"mailAccess": {**SPEC["mailAccess"], "oauth": {"enabled": True}}}, ["NotYetSupported"]),
        ({"mailAccess": {**SPEC["mailAccess"], "doveadm": {"enabled": True}}}, ["NotYetSupported"]),
        ({"mechanisms": {"dovecot": {"preferDoveadmForMetadata": True}}}, ["NotYetSupported"]),
        ({"mechanisms": {"imapidle": {"accountId": 1}}}, ["NotYetSupported"]),
        ({"packages": {"status": {REST: "disabled"}, "whitelist": [DOVECOT]}}, []),
        ({"packages": {"status": {DOVECOT: "enabled"}, "whitelist": ["open-xchange-core"]}}, ["NoPushPackage"]),
        ({"packages": {"whitelist": [DOVECOT, MAILNOTIFY]}}, ["NotYetSupported"]),
        ({"listeners": {"replicas": 0}}, ["ListenersScaledToZero"]),
        ({"allowPermanentPush": False}, ["PermanentPushDisabled"]),
        (
            {
                "allowPermanentPush": False,
                "listeners": {"podOverrides": [{"ordinal": 1, "allowPermanentPush": True}]},
            },
            [],
        ),
        (
            {"listeners": {"replicas": 1, "podOverrides": [{"ordinal": 0, "allowPermanentPush": False}]}},
            ["PermanentPushDisabled"],
        ),
    ],
)
def test_a_configuration_that_cannot_work_says_why(changes: dict[str, Any], reasons: list[str]) -> None:
    assert problems(**changes) == reasons


def test_secrets_that_are_missing_or_not_permitted_are_named_by_their_field() -> None:
    spec = MailPushConfigSpec.model_validate(SPEC)
    found = config_problems(spec, ["redis.passwordSecretRef"], ["mailAccess.masterPasswordSecretRef"])
    assert [problem.reason for problem in found] == ["SecretNotFound", "SecretNotPermitted"]
    assert "redis.passwordSecretRef" in found[0].message
    assert "mailAccess.masterPasswordSecretRef" in found[1].message


def test_what_may_not_be_meant_is_a_warning() -> None:
    servers = [
        {"name": "clear", "host": "h", "security": "none"},
        {"name": "any", "host": "h", "insecureSkipVerify": True},
    ]
    changes = {
        "properties": {"com.openexchange.push.allowedClient": "a"},
        "allowedClients": [],
        "mailAccess": {**SPEC["mailAccess"], "servers": servers},
    }
    spec = MailPushConfigSpec.model_validate(SPEC | changes)
    assert [problem.reason for problem in config_warnings(spec)] == [
        "AllowedClientSpelling",
        "PropertyOverridesField",
        "MailAccessInsecure",
        "MailAccessInsecure",
    ]
    assert config_warnings(MailPushConfigSpec.model_validate(SPEC)) == ()


def test_the_articles_spelling_is_a_warning_as_a_field_too_and_an_empty_list_of_it_allows_everybody() -> None:
    spec = MailPushConfigSpec.model_validate(SPEC | {"allowedClient": ["a*"]})
    assert [problem.reason for problem in config_warnings(spec)] == ["AllowedClientSpelling"]
    spec = MailPushConfigSpec.model_validate(SPEC | {"allowedClient": []})
    assert [problem.reason for problem in config_warnings(spec)] == ["AllowedClientSpelling", "EveryClientAllowed"]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("com.openexchange.push.allowPermanentPush", "false", "PermanentPushDisabled"),
        ("com.openexchange.dovecot.doveadm.enabled", "true", "NotYetSupported"),
        ("com.openexchange.push.dovecot.preferDoveadmForMetadata", "true", "NotYetSupported"),
        ("com.openexchange.push.imapidle.accountId", "3", "NotYetSupported"),
    ],
)
def test_what_properties_switches_counts_like_the_field(key: str, value: str, reason: str) -> None:
    spec = MailPushConfigSpec.model_validate(SPEC | {"properties": {key: value}})
    settings = read(render(spec, ResolvedSecrets(b"key"), "main").directory)
    (problem,) = property_problems(spec, settings)
    assert problem.reason == reason
    assert key in problem.message
    assert config_problems(spec) == ()


def test_what_a_field_says_already_is_not_said_twice() -> None:
    changes = {
        "allowPermanentPush": False,
        "properties": {"com.openexchange.push.allowPermanentPush": "false"},
        "mechanisms": {"imapidle": {"accountId": 1}},
    }
    spec = MailPushConfigSpec.model_validate(SPEC | changes)
    assert property_problems(spec, read(render(spec, ResolvedSecrets(b"key"), "main").directory)) == ()
