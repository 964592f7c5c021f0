"""What keeps a MailPushConfig from working, said with what to do."""

from dataclasses import replace
from typing import Any

import pytest

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.decision import Problem, config_problems, config_warnings
from mailpush.decision.warnings import UNTOLD
from mailpush.packages import DOVECOT, IMAPIDLE, MAILNOTIFY, REST
from mailpush.properties.read import read
from mailpush.properties.render import render
from mailpush.properties.secrets import MASTER_PASSWORD, PASSCRYPT, REDIS_PASSWORD, ResolvedSecrets
from mailpush.properties.settings import Settings

DOVEADM: dict[str, Any] = {
    "enabled": True,
    "endpoints": ["https://dovecot:8443/doveadm/v1"],
    "apiSecretRef": {"name": "doveadm", "key": "key"},
}
STORAGE: dict[str, Any] = {"enabled": True, "passcryptSecretRef": {"name": "p", "key": "k"}}
DATABASE: dict[str, Any] = {"url": "mysql://db:3306/mailpush"}
OX: dict[str, Any] = {"credentials": "read", "database": DATABASE}
SESSION: dict[str, Any] = {"passwordSource": "session", "servers": [{"name": "default", "host": "dovecot"}]}
SPEC: dict[str, Any] = {
    "packages": {"status": {DOVECOT: "enabled"}},
    "mailAccess": {
        "passwordSource": "global",
        "masterPasswordSecretRef": {"name": "master", "key": "password"},
        "servers": [{"name": "default", "host": "dovecot"}],
    },
}


def of(**changes: Any) -> tuple[MailPushConfigSpec, Settings]:
    """A spec, and what listeners run by then."""
    spec = MailPushConfigSpec.model_validate(SPEC | changes)
    secrets = ResolvedSecrets(b"key", {MASTER_PASSWORD: "secret", PASSCRYPT: "secret"})
    return spec, read(render(spec, secrets, "main").directory)


def found(**changes: Any) -> tuple[Problem, ...]:
    return config_problems(*of(**changes))


def problems(**changes: Any) -> list[str]:
    return [problem.reason for problem in found(**changes)]


def warnings(**changes: Any) -> list[str]:
    return [problem.reason for problem in config_warnings(*of(**changes))]


def test_the_block_of_the_page_alone_says_which_values_to_add() -> None:
    (problem,) = found(mailAccess=None)
    assert problem.reason == "MailAccessMissing"
    assert problem.message == (
        "listeners cannot reach the mailboxes: set mailAccess.servers (at least one, with its host) and "
        'mailAccess.passwordSource ("global" with mailAccess.masterPasswordSecretRef, or "session" with '
        "credentialStorage.enabled, mailAccess.userSecrets.enabled, mailAccess.oauth.enabled or "
        "mailAccess.doveadm.enabled: true); as values of the chart these are "
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
        ({"credentialStorage": STORAGE, "mailAccess": SESSION}, ["CredentialStorageNotShared"]),
        ({"credentialStorage": STORAGE, "mailAccess": SESSION, "listeners": {"replicas": 1}}, []),
        ({"credentialStorage": STORAGE, "mailAccess": SESSION, "redis": {"url": "redis://r:6379/0"}}, []),
        ({"credentialStorage": STORAGE}, []),
        ({"credentialStorage": {**STORAGE, "rdb": True}, "mailAccess": SESSION}, ["DatabaseMissing"]),
        (
            {"credentialStorage": {**STORAGE, "rdb": True, "database": {"url": "sqlite:////a"}}, "mailAccess": SESSION},
            ["DatabaseMissing"],
        ),
        ({"credentialStorage": {**STORAGE, "rdb": True, "database": DATABASE}, "mailAccess": SESSION}, []),
        (
            {
                "credentialStorage": {**STORAGE, "ox": OX},
                "mailAccess": SESSION,
            },
            [],
        ),
        (
            {
                "credentialStorage": {
                    **STORAGE,
                    "ox": {**OX, "credentials": "readWrite", "form": "argon"},
                },
                "mailAccess": SESSION,
            },
            [],
        ),
        ({"mailAccess": {**SPEC["mailAccess"], "doveadm": {"enabled": True}}}, ["DoveadmIncomplete"]),
        ({"mailAccess": {**SPEC["mailAccess"], "doveadm": {**DOVEADM, "endpoints": []}}}, ["DoveadmIncomplete"]),
        ({"mailAccess": {**SPEC["mailAccess"], "doveadm": DOVEADM}}, []),
        ({"mailAccess": {"passwordSource": "session", "servers": [{"host": "h"}], "doveadm": DOVEADM}}, []),
        (
            {
                "packages": {"status": {IMAPIDLE: "enabled"}},
                "mechanisms": {"imapidle": {"supportsPermanentListeners": True}},
                "mailAccess": {"passwordSource": "session", "servers": [{"host": "h"}], "doveadm": DOVEADM},
            },
            ["PasswordMissing"],
        ),
        ({"mechanisms": {"dovecot": {"preferDoveadmForMetadata": True}}}, []),
        ({"mechanisms": {"imapidle": {"accountId": 1}}}, ["NotYetSupported"]),
        ({"mechanisms": {"dovecot": {"enabled": False}}}, ["MechanismDisabled"]),
        ({"packages": {"status": {IMAPIDLE: "enabled"}}}, ["PermanentNotSupported"]),
        (
            {
                "packages": {"status": {IMAPIDLE: "enabled"}},
                "mechanisms": {"imapidle": {"supportsPermanentListeners": True, "enabled": False}},
            },
            ["MechanismDisabled"],
        ),
        ({"mailAccess": {"passwordSource": "session", "servers": [{"host": "h"}]}}, ["PasswordMissing"]),
        (
            {
                "mailAccess": {
                    "passwordSource": "session",
                    "userSecrets": {"enabled": True},
                    "servers": [{"host": "h"}],
                }
            },
            [],
        ),
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
    spec, settings = of(redis={"url": "redis://r", "passwordSecretRef": {"name": "of-redis", "key": "word"}})
    missing, unpermitted = config_problems(spec, settings, [REDIS_PASSWORD], [MASTER_PASSWORD])
    assert (missing.reason, unpermitted.reason) == ("SecretNotFound", "SecretNotPermitted")
    assert missing.message.startswith(f"key word of Secret of-redis, which {REDIS_PASSWORD} names, does not exist")
    assert unpermitted.message.startswith(f"Secret master, which {MASTER_PASSWORD} names")
    assert "mailpush.dev/use=master-password" in unpermitted.message


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
    told = {"transports": {"webhooks": [{"name": "w", "url": "https://h/"}]}, "redis": {"url": "redis://r"}}
    assert warnings(**changes, **told) == [
        "AllowedClientSpelling",
        "PropertyOverridesField",
        "MailAccessInsecure",
        "MailAccessInsecure",
    ]
    assert warnings(**told) == []


def test_the_articles_spelling_is_a_warning_as_a_field_too_and_an_empty_list_of_it_allows_everybody() -> None:
    told = {"transports": {"webhooks": [{"name": "w", "url": "https://h/"}]}, "redis": {"url": "redis://r"}}
    assert warnings(allowedClient=["a*"], **told) == ["AllowedClientSpelling"]
    assert warnings(allowedClient=[], **told) == ["AllowedClientSpelling", "EveryClientAllowed"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["NobodyNotified", "RedisMissing"]),
        ({"listeners": {"replicas": 1}}, ["NobodyNotified"]),
        ({"redis": {"url": "redis://r"}}, ["NobodyNotified"]),
        ({"transports": {"webhooks": [{"name": "w", "url": "https://h/"}]}}, ["RedisMissing"]),
    ],
)
def test_an_installation_that_tells_nobody_is_a_warning(changes: dict[str, Any], expected: list[str]) -> None:
    assert warnings(**changes) == expected
    assert UNTOLD.issuperset(expected)


PUSH = "com.openexchange.push"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (f"{PUSH}.allowPermanentPush", "false", "PermanentPushDisabled"),
        (f"{PUSH}.dovecot.enabled", "false", "MechanismDisabled"),
        ("com.openexchange.dovecot.doveadm.enabled", "true", "DoveadmIncomplete"),
        (f"{PUSH}.imapidle.accountId", "3", "NotYetSupported"),
        ("com.openexchange.mail.passwordSource", "session", "PasswordMissing"),
    ],
)
def test_what_properties_switches_counts_like_the_field_and_the_advice_names_it(
    key: str, value: str, reason: str
) -> None:
    (problem,) = found(properties={key: value})
    assert problem.reason == reason
    assert f"{key} in properties" in problem.message


@pytest.mark.parametrize("value", ["true", "TRUE", ""])  # an empty one is OX's default
def test_a_field_that_a_property_wins_over_says_nothing(value: str) -> None:
    """allowPermanentPush is false, and users are listened for all the same."""
    assert problems(allowPermanentPush=False, properties={f"{PUSH}.allowPermanentPush": value}) == []


def test_what_a_field_and_a_property_say_is_said_once() -> None:
    changes = {
        "allowPermanentPush": False,
        "properties": {f"{PUSH}.allowPermanentPush": "false"},
        "mechanisms": {"imapidle": {"accountId": 1}},
    }
    assert problems(**changes) == ["NotYetSupported", "PermanentPushDisabled"]


@pytest.mark.parametrize(
    ("packages", "cause"),
    [
        ({"status": {}}, "packages.status"),
        ({"status": {DOVECOT: "enabled"}, "whitelist": ["open-xchange-core"]}, "packages.whitelist names no push"),
    ],
)
def test_where_no_push_package_is_in_effect_the_cause_is_named_and_what_exists_is_recommended(
    packages: dict[str, Any], cause: str
) -> None:
    (problem,) = found(packages=packages)
    assert problem.reason == "NoPushPackage"
    assert cause in problem.message
    assert DOVECOT in problem.message
    assert MAILNOTIFY not in problem.message


def test_settings_that_cannot_be_read_hide_no_other_problem() -> None:
    spec, _ = of(mechanisms={"imapidle": {"accountId": 1}})
    assert [problem.reason for problem in config_problems(spec, None)] == ["NotYetSupported"]


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        ({}, ["PasscryptMissing"]),
        ({"passcryptSecretRef": {"name": "p", "key": "k"}}, []),
        ({"generatePasscrypt": True}, []),
    ],
)
def test_the_storage_that_its_property_alone_switches_on_needs_a_passcrypt(
    storage: dict[str, Any], expected: list[str]
) -> None:
    properties = {"com.openexchange.push.credstorage.enabled": "true"}
    spec, _ = of(properties=properties, credentialStorage=storage)
    assert [one.reason for one in config_problems(spec, None)] == expected


def test_the_page_s_properties_alone_are_as_good_as_their_fields() -> None:
    properties = {
        "com.openexchange.push.allowPermanentPush": "true",
        "com.openexchange.push.allowedClients": "USM-EAS*",
        "com.openexchange.push.credstorage.enabled": "true",
        "com.openexchange.push.credstorage.rdb": "true",
    }
    common: dict[str, Any] = {"mailAccess": SESSION, "listeners": {"replicas": 1}}
    secret = {"passcryptSecretRef": {"name": "p", "key": "k"}}
    _, by_property = of(properties=properties, credentialStorage=secret, **common)
    _, by_field = of(credentialStorage={"enabled": True, "rdb": True, **secret}, allowedClients=["USM-EAS*"], **common)
    assert by_property.credential_storage.enabled
    assert by_property.credential_storage.rdb
    assert replace(by_property, by_property=frozenset()) == by_field


def test_the_storage_switched_on_by_its_property_writes_to_ox_table_as_by_its_field() -> None:
    """The page's own properties; `mailpush.*` stands in no property."""
    ox = {**OX, "credentials": "readWrite", "form": "legacy"}
    by_field = of(credentialStorage={**STORAGE, "ox": ox}, mailAccess=SESSION)
    off = {**STORAGE, "enabled": False, "ox": ox}
    on = {"com.openexchange.push.credstorage.enabled": "true"}
    by_property = of(credentialStorage=off, properties=on, mailAccess=SESSION)
    assert config_problems(*by_field) == config_problems(*by_property) == ()
    assert by_field[1].ox == by_property[1].ox
    assert by_property[1].credential_storage.enabled is True
    assert by_field[1].passcrypt == by_property[1].passcrypt
