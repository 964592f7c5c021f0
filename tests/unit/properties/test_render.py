"""Rendering, where golden files do not reach: secrets, hashes, and properties that win over fields."""

from typing import Any

import pytest

from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.properties import keys
from mailpush.properties.format import load
from mailpush.properties.read import read
from mailpush.properties.render import RenderedConfig, render
from mailpush.properties.secrets import ResolvedSecrets, secret_references

SPEC: dict[str, Any] = {
    "packages": {"status": {"open-xchange-push-dovecot": "enabled"}},
    "credentialStorage": {"passcryptSecretRef": {"name": "passcrypt", "key": "p"}},
    "mailAccess": {
        "passwordSource": "global",
        "masterPasswordSecretRef": {"name": "master", "key": "password"},
        "servers": [
            {"name": "default", "host": "dovecot", "caSecretRef": {"name": "ca", "key": "ca.crt"}},
            {"name": "plain", "host": "dovecot"},
        ],
    },
    "callback": {"authSecretRef": {"name": "callback"}},
    "redis": {"url": "redis://redis", "passwordSecretRef": {"name": "redis", "key": "password"}},
    "transports": {"webhooks": [{"name": "hook", "url": "http://hook", "secretRef": {"name": "hook", "key": "key"}}]},
}
MASTER = "mailAccess.masterPasswordSecretRef"


def rendered(values: dict[str, str] | None = None, key: bytes = b"key", **changes: Any) -> RenderedConfig:
    spec = MailPushConfigSpec.model_validate(SPEC | changes)
    return render(spec, ResolvedSecrets(key, values or {}), "main")


def test_every_reference_to_a_secret_is_found_with_its_field() -> None:
    references = secret_references(MailPushConfigSpec.model_validate(SPEC))
    assert {path: (reference.name, reference.key) for path, reference in references} == {
        "credentialStorage.passcryptSecretRef": ("passcrypt", "p"),
        "mailAccess.masterPasswordSecretRef": ("master", "password"),
        "mailAccess.servers[default].caSecretRef": ("ca", "ca.crt"),
        "callback.authSecretRef.login": ("callback", "login"),
        "callback.authSecretRef.password": ("callback", "password"),
        "redis.passwordSecretRef": ("redis", "password"),
        "transports.webhooks[hook].secretRef": ("hook", "key"),
    }
    assert secret_references(MailPushConfigSpec()) == []


def test_the_callbacks_credentials_may_come_from_the_operator_itself() -> None:
    values = {"callback.authSecretRef.login": "dovecot", "callback.authSecretRef.password": "made"}
    settings = read(rendered(values, callback={}).directory)
    assert (settings.callback.login, settings.callback.password) == ("dovecot", "made")


def test_blanks_around_what_a_field_says_are_part_of_it() -> None:
    """Those around a property that stands in `properties` are not, to OX."""
    blanks = " \u00a0x\u00a0 "
    access = {**SPEC["mailAccess"], "masterUser": {"name": blanks}, "authProxyDelimiter": " "}
    idle = {"imapidle": {"folder": blanks}}
    settings = read(rendered(mailAccess=access, mechanisms=idle).directory)
    assert settings.mail is not None
    assert (settings.mail.master_user, settings.mail.auth_proxy_delimiter) == (blanks, " ")
    assert settings.imapidle.folder == blanks
    key = "com.openexchange.push.imapidle.folder"
    settings = read(rendered(mechanisms=idle, properties={key: " Sent "}).directory)
    assert settings.imapidle.folder == "Sent"


def test_a_line_end_behind_a_secret_is_no_part_of_it() -> None:
    settings = read(rendered({MASTER: " hunter2 \r\n"}).directory)
    assert settings.mail is not None
    assert settings.mail.master_password == " hunter2 "


def test_a_secret_that_is_missing_is_left_out() -> None:
    config = rendered()
    assert load(config.secret_files["mail-push-secrets.properties"]) == {}
    settings = read(config.directory)
    assert settings.mail is not None
    assert settings.mail.master_password is None


def test_a_changed_secret_changes_the_configuration_but_not_what_takes_a_restart() -> None:
    before, after = rendered({MASTER: "a"}), rendered({MASTER: "b"})
    assert before.files == after.files
    assert before.secrets_hash != after.secrets_hash
    assert before.config_hash != after.config_hash
    assert before.boot_hash == after.boot_hash


def test_the_hash_of_secrets_needs_a_key_and_depends_on_it() -> None:
    assert rendered({MASTER: "a"}).secrets_hash != rendered({MASTER: "a"}, key=b"other").secrets_hash
    with pytest.raises(ValueError, match="needs a key"):
        rendered({MASTER: "a"}, key=b"")


def test_only_what_takes_a_restart_changes_the_boot_files() -> None:
    boot = rendered().boot_hash
    assert rendered(redis={"url": "redis://other"}).boot_hash != boot
    assert rendered(allowPermanentPush=False, allowedClients=["a"]).boot_hash == boot


def test_properties_win_and_stand_in_the_file_that_owns_them() -> None:
    config = rendered(
        properties={
            "com.openexchange.push.allowPermanentPush": "false",
            "com.openexchange.push.dovecot.clusterLock": "db",
            "com.openexchange.push.mail.notify.udp_listen_port": "1",
            "com.openexchange.mail.authProxyDelimiter": "+",
            "com.openexchange.dovecot.doveadm.endpoints": "http://doveadm",
            "com.openexchange.pns.delayDuration": "1",
        }
    )
    properties = {name: load(text) for name, text in config.files.items()}
    assert properties["mail-push.properties"]["com.openexchange.push.allowPermanentPush"] == "false"
    assert properties["dovecot-push.properties"]["com.openexchange.push.dovecot.clusterLock"] == "db"
    assert properties["push_mailnotify.properties"]["com.openexchange.push.mail.notify.udp_listen_port"] == "1"
    assert properties["mail.properties"]["com.openexchange.mail.authProxyDelimiter"] == "+"
    assert properties["doveadm.properties"] == {"com.openexchange.dovecot.doveadm.endpoints": "http://doveadm"}
    assert properties["extra.properties"] == {"com.openexchange.pns.delayDuration": "1"}
    assert not read(config.directory).allow_permanent_push


def test_the_documented_spelling_of_allowed_clients_means_the_real_one() -> None:
    documented, real = "com.openexchange.push.allowedClient", "com.openexchange.push.allowedClients"
    only = rendered(properties={documented: "a*"})
    assert read(only.directory).allowed_clients.source == "a*"
    assert documented not in load(only.files["mail-push.properties"])
    both = rendered(properties={documented: "a*", real: "b*"})
    assert read(both.directory).allowed_clients.source == "b*"


@pytest.mark.parametrize(
    ("mechanisms", "packages", "enabled"),
    [
        ({}, ["dovecot"], (True, False)),
        ({}, ["imapidle"], (False, True)),
        ({"dovecot": {"enabled": False}}, ["dovecot"], (False, False)),
        ({"imapidle": {"enabled": True}}, ["dovecot"], (True, True)),
    ],
)
def test_enabling_a_package_switches_its_mechanism_on(
    mechanisms: dict[str, Any], packages: list[str], enabled: tuple[bool, bool]
) -> None:
    status = {f"open-xchange-push-{name}": "enabled" for name in packages}
    settings = read(rendered(mechanisms=mechanisms, packages={"status": status}).directory)
    assert (settings.dovecot.enabled, settings.imapidle.enabled) == enabled


def test_the_listeners_are_told_that_registrations_stay_and_nothing_where_they_do_not() -> None:
    for policy, stays in (("Unregister", False), ("Leave", True)):
        spec = MailPushConfigSpec.model_validate({"deletionPolicy": policy})
        config = render(spec, ResolvedSecrets(b"key"), "main")
        assert read(config.directory).leaves_registrations is stays
        assert ("deletionPolicy" in "".join(config.files.values())) is stays


def test_before_an_uninstall_the_listeners_are_told_to_unregister() -> None:
    spec = MailPushConfigSpec.model_validate(SPEC)
    config = render(spec, ResolvedSecrets(b"key"), "main", unregister=True)
    assert read(config.directory).unregister
    assert config.config_hash != rendered().config_hash
    assert config.boot_hash == rendered().boot_hash


def test_neither_the_secrets_nor_what_is_rendered_show_a_secret() -> None:
    secrets = ResolvedSecrets(b"hunter2-key", {MASTER: "hunter2"})
    config = render(MailPushConfigSpec.model_validate(SPEC), secrets, "main")
    assert "hunter2" not in f"{secrets!r}{config!r}"


@pytest.mark.parametrize(
    ("security", "url", "starttls"),
    [
        ("tls", "imaps://dovecot:993", "false"),
        ("starttls", "imap://dovecot:143", "true"),
        ("none", "imap://dovecot:143", "false"),
    ],
)
def test_ox_is_told_how_everybodys_server_is_spoken_to(security: str, url: str, starttls: str) -> None:
    servers = [{"name": "first", "host": "dovecot", "security": security}, {"name": "second", "host": "other"}]
    for source, told in (("global", [url, starttls]), ("user", [None, None])):
        access = SPEC["mailAccess"] | {"mailServerSource": source, "servers": servers}
        mail = load(rendered(mailAccess=access).files[keys.MAIL_FILE])
        assert [mail.get(keys.MAIL_SERVER), mail.get(keys.MAIL_STARTTLS)] == told
