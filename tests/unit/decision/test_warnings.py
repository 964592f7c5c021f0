"""What works, but perhaps not as meant: properties beside fields, secrets among them, patterns that allow everybody."""

from typing import Any

import pytest

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.decision import config_warnings
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.read import read
from mailpush.properties.render import render
from mailpush.properties.secrets import PASSCRYPT, PASSCRYPT_PREVIOUS, ResolvedSecrets

OX = "com.openexchange"
ALLOWED = f"{OX}.push.allowedClients"
IDLE = f"{OX}.push.imapidle"


def warnings(**spec: Any) -> list[tuple[str, str]]:
    return [(found.reason, found.message) for found in config_warnings(MailPushConfigSpec.model_validate(spec), None)]


def reasons(**spec: Any) -> list[str]:
    return [reason for reason, _ in warnings(**spec)]


@pytest.mark.parametrize(
    "key",
    [
        f"{OX}.mail.transport.adminPassword",
        f"{OX}.rest.services.other.secret",
        f"{OX}.webhooks.webhookSecret",
        "some.apiKey",
        "some.API-KEY",
        "oauth.token",
    ],
)
def test_a_property_that_looks_like_a_secret_is_told_by_its_name_alone(key: str) -> None:
    ((reason, message),) = warnings(properties={key: "hunter2"})
    assert reason == "SecretInProperties"
    assert key in message
    assert "take it out" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (f"{OX}.mail.passwordSource", "global"),
        (f"{OX}.some.allowPassword", "true"),
        (f"{OX}.some.password", ""),
        (f"{OX}.secret.secretSource", "session-id"),
        (f"{OX}.pns.delayDuration", "1000"),
    ],
)
def test_what_is_no_secret_is_not_told(key: str, value: str) -> None:
    assert warnings(properties={key: value}) == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"mechanisms": {"imapidle": {"delay": 9}}, "properties": {f"{IDLE}.delay": "1"}}, "mechanisms.imapidle.delay"),
        (
            {"mechanisms": {"dovecot": {"enabled": True}}, "properties": {f"{OX}.push.dovecot.enabled": "false"}},
            "mechanisms.dovecot.enabled",
        ),
        (
            {"mailAccess": {"passwordSource": "session"}, "properties": {f"{OX}.mail.passwordSource": "global"}},
            "mailAccess.passwordSource",
        ),
        ({"allowedClients": ["a"], "properties": {ALLOWED: "a, b"}}, "allowedClients"),
        ({"reschedule": {"delayDuration": 1}, "properties": {f"{OX}.push.reschedule.delayDuration": "2"}},
         "reschedule.delayDuration"),
    ],
)  # fmt: skip
def test_a_property_that_wins_over_another_value_of_its_field_is_told(spec: dict[str, Any], field: str) -> None:
    (key,) = spec["properties"]
    assert warnings(**spec) == [
        (
            "PropertyOverridesField",
            f"properties has {key}, which wins over {field}, and they differ: take one of them out",
        )
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"properties": {f"{IDLE}.delay": "1"}},
        {"mechanisms": {"imapidle": {"folder": "INBOX"}}, "properties": {f"{IDLE}.delay": "1"}},
        {"mechanisms": {"imapidle": {"delay": 1}}, "properties": {f"{IDLE}.delay": "1"}},
        {"mechanisms": {"dovecot": {"enabled": False}}, "properties": {f"{OX}.push.dovecot.enabled": "false"}},
        {"allowedClients": ["a*", "b"], "properties": {ALLOWED: '"a*",b'}},
    ],
)
def test_a_property_whose_field_is_not_set_or_says_the_same_is_no_conflict(spec: dict[str, Any]) -> None:
    assert warnings(**spec) == []


def test_that_everybody_is_allowed_is_told_of_what_counts() -> None:
    assert reasons(allowedClients=[]) == ["EveryClientAllowed"]
    assert reasons(properties={ALLOWED: " , "}) == ["EveryClientAllowed"]
    assert reasons(properties={ALLOWED.removesuffix("s"): ""}) == ["AllowedClientSpelling", "EveryClientAllowed"]
    # Properties win: what the field allows does not count.
    assert reasons(allowedClients=[], properties={ALLOWED: "a"}) == ["PropertyOverridesField"]
    assert reasons(allowedClients=["a"], properties={ALLOWED: ""}) == ["EveryClientAllowed", "PropertyOverridesField"]


def test_that_quotes_with_nothing_between_allow_nobody_is_told() -> None:
    assert reasons(properties={ALLOWED: ' "" , '}) == ["NoClientAllowed"]
    assert reasons(properties={ALLOWED: '"", a'}) == []


def test_only_the_letters_that_java_folds_are_the_same_in_both_cases() -> None:
    assert ClientPatterns.parse("usm-k*").match("USM-K1")
    assert not ClientPatterns.parse("usm-k*").match("usm-\u212a1"), "the Kelvin sign is no K"
    assert not ClientPatterns.parse("\u00e4").match("\u00c4")
    assert ClientPatterns.parse("\u00e4?").match("\u00e4\u00c4")


@pytest.mark.parametrize(
    ("passcrypt", "previous", "ox", "expected"),
    [
        ("qqtulip", None, False, []),
        ("qqtulip", "qqrose", False, []),
        ("qqtülip", None, False, ["PasscryptNotAscii"]),
        ("qqtulip", "qqtulip ", False, ["PasscryptPreviousSame"]),
        ("qqtulip", "qqrose", True, ["RotationRefused"]),
    ],
)
def test_a_passcrypt_that_may_not_be_what_was_meant_is_told_of_without_it(
    passcrypt: str, previous: str | None, ox: bool, expected: list[str]
) -> None:
    storage: dict[str, Any] = {"enabled": True, "passcryptSecretRef": {"name": "p", "key": "now"}}
    values = {PASSCRYPT: passcrypt}
    if previous is not None:
        storage["passcryptPreviousSecretRef"] = {"name": "p", "key": "before"}
        values[PASSCRYPT_PREVIOUS] = previous
    if ox:
        storage["ox"] = {"credentials": "read", "database": {"url": "mysql://mariadb/configdb"}}
    access = {"passwordSource": "session", "servers": [{"name": "main", "host": "dovecot", "security": "tls"}]}
    spec = MailPushConfigSpec.model_validate(
        {
            "credentialStorage": storage,
            "mailAccess": access,
            "listeners": {"replicas": 1},
            "transports": {"webhooks": [{"name": "hook", "url": "https://hook.example.org/"}]},
        }
    )
    settings = read(render(spec, ResolvedSecrets(b"k" * 32, values), "main").directory)
    found = config_warnings(spec, settings)
    assert [one.reason for one in found] == expected
    assert not any(word in one.message for one in found for word in (passcrypt, "qqrose"))


def of_doveadm(enabled: bool, *, prefer: bool, scheme: str = "https") -> list[str]:
    """Reasons of the warnings with doveadm by its properties, as listeners read them."""
    spec = MailPushConfigSpec.model_validate(
        {
            "mailAccess": {"servers": [{"host": "dovecot"}]},
            "properties": {
                f"{OX}.dovecot.doveadm.enabled": str(enabled).lower(),
                f"{OX}.dovecot.doveadm.endpoints": f"{scheme}://dovecot/doveadm/v1",
                f"{OX}.push.dovecot.preferDoveadmForMetadata": str(prefer).lower(),
            },
        }
    )
    settings = read(render(spec, ResolvedSecrets(b"key", {}), "main").directory)
    return [found.reason for found in config_warnings(spec, settings)]


def test_doveadm_that_is_preferred_and_off_is_a_warning_and_so_is_a_key_in_the_clear() -> None:
    assert "DoveadmMissing" in of_doveadm(False, prefer=True)
    assert "DoveadmMissing" not in of_doveadm(True, prefer=True)
    assert "DoveadmMissing" not in of_doveadm(False, prefer=False)
    assert "MailAccessInsecure" in of_doveadm(True, prefer=False, scheme="http")
    assert "MailAccessInsecure" not in of_doveadm(True, prefer=False)
    assert "MailAccessInsecure" not in of_doveadm(False, prefer=False, scheme="http")
