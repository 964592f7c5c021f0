"""From property files to settings: OX's defaults, and every fault named at once."""

import pytest

from mailpush.api.credentialstorage import CredentialStorage
from mailpush.api.mechanisms import ImapIdleSettings
from mailpush.properties.hashes import config_hash_of
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.read import SettingsError, read

SECRETS = "mail-push-secrets.properties"


def problems(**files: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read({f"{name.replace('_', '-')}.properties": text for name, text in files.items()})
    assert str(caught.value) == "; ".join(caught.value.problems)
    return caught.value.problems


def test_an_empty_directory_has_the_defaults_of_ox() -> None:
    settings = read({})
    assert settings.allow_permanent_push
    assert settings.allowed_clients.source == "USM-EAS*, open-xchange-mobile-api-facade*"
    assert settings.packages == frozenset()
    assert settings.mail is None
    assert settings.credential_storage == CredentialStorage()
    assert settings.imapidle == ImapIdleSettings(enabled=False)
    assert not settings.dovecot.enabled
    assert (settings.callback.login, settings.callback.password) == ("", "")
    assert settings.redis is None
    assert not settings.unregister


def test_a_mechanism_is_on_where_its_package_is_unless_the_property_says_otherwise() -> None:
    listener = "mailpush.packages=open-xchange-push-dovecot, open-xchange-push-imapidle"
    settings = read({"a.properties": listener})
    assert (settings.dovecot.enabled, settings.imapidle.enabled) == (True, True)
    settings = read({"a.properties": listener, "b.properties": "com.openexchange.push.dovecot.enabled=FALSE"})
    assert (settings.dovecot.enabled, settings.imapidle.enabled) == (False, True)


def test_secrets_are_read_last_and_other_files_not_at_all() -> None:
    key = "com.openexchange.rest.services.basic-auth.password"
    settings = read({SECRETS: f"{key}=right", "z.properties": f"{key}=wrong", "zz.yaml": f"{key}=no property file"})
    assert settings.callback.password == "right"


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("com.openexchange.push.allowedClients=", ""),
        ('com.openexchange.push.allowedClients="a*", b', "a*, b"),
        ("com.openexchange.push.allowedClient=a*", "a*"),
        ("com.openexchange.push.allowedClient=a*\ncom.openexchange.push.allowedClients=b", "b"),
    ],
)
def test_both_spellings_of_allowed_clients_are_read_and_the_real_one_wins(text: str, patterns: str) -> None:
    assert read({"mail-push.properties": text}).allowed_clients == ClientPatterns.parse(patterns)


def test_every_fault_is_named_with_file_property_value_and_what_is_allowed() -> None:
    assert problems(
        mail="com.openexchange.mail.passwordSource=sesion\ncom.openexchange.mail.loginSource=id",
        mail_push="com.openexchange.push.allowPermanentPush=yes",
        push_imapidle="com.openexchange.push.imapidle.delay=5s\ncom.openexchange.push.imapidle.pushMode=often",
        mail_push_listener=(
            "mailpush.mechanisms.order=dovecot, carrier-pigeon\n"
            "mailpush.notification.content=all\n"
            "mailpush.mail.servers=one, two\n"
            "mailpush.mail.server.one.port=70000\n"
            "mailpush.mail.server.one.security=ssl\n"
            "mailpush.mail.server.two.host=dovecot\n"
            "mailpush.webhooks=a, b, c\n"
            "mailpush.webhook.a.url=ftp://x\n"
            "mailpush.webhook.b.url=http://user:hunter2@x\n"
        ),
        broken="a=\\u12",
    ) == (
        "broken.properties: line 1: \\u needs four hexadecimal digits",
        'mail-push.properties: com.openexchange.push.allowPermanentPush is "yes"; allowed is true or false',
        'mail-push-listener.properties: mailpush.mechanisms.order is "dovecot, carrier-pigeon"; '
        "allowed is a comma list of dovecot, imapidle, mailnotify",
        'mail.properties: com.openexchange.mail.passwordSource is "sesion"; allowed is session or global',
        'mail.properties: com.openexchange.mail.loginSource is "id"; allowed is login or mail or name',
        'mail-push-listener.properties: mailpush.mail.server.one.security is "ssl"; allowed is tls or starttls or none',
        "mail-push-listener.properties: mailpush.mail.server.one.host is missing",
        'mail-push-listener.properties: mailpush.mail.server.one.port is "70000"; allowed is a number from 1 to 65535',
        'push-imapidle.properties: com.openexchange.push.imapidle.delay is "5s"; '
        "allowed is a number from 0 to 86400000",
        'push-imapidle.properties: com.openexchange.push.imapidle.pushMode is "often"; allowed is always or newmail',
        'mail-push-listener.properties: mailpush.webhook.a.url is "ftp://x"; '
        "allowed is a URL that begins with http:// or https://, without blanks and control characters",
        "mail-push-listener.properties: mailpush.webhook.b.url cannot be taken; "
        "allowed is a URL without user and password",
        "mail-push-listener.properties: mailpush.webhook.c.url is missing",
        'mail-push-listener.properties: mailpush.notification.content is "all"; allowed is none or headers or full',
    )


def test_a_fault_in_a_secret_is_named_without_its_value() -> None:
    found = problems(
        mail="com.openexchange.mail.passwordSource=global\nmailpush.mail.servers=a\nmailpush.mail.server.a.host=h",
        mail_push_secrets="mailpush.mail.server.a.ca=hunter2\ncom.openexchange.push.allowPermanentPush=hunter2",
    )
    assert len(found) == 2
    assert "hunter2" not in str(found)
    assert f"{SECRETS}: mailpush.mail.server.a.ca cannot be taken; allowed is one or more PEM certificates" in found


def test_a_credential_storage_without_a_passcrypt_names_both_properties() -> None:
    text = "com.openexchange.push.credstorage.enabled=true"
    assert problems(mail_push=text, mail_push_secrets="com.openexchange.push.credstorage.passcrypt=\\ ") == (
        "mail-push-secrets.properties: com.openexchange.push.credstorage.passcrypt is empty, "
        "but com.openexchange.push.credstorage.enabled is true",
    )


def test_passwords_keep_their_blanks() -> None:
    mail = "com.openexchange.mail.passwordSource=global"
    settings = read({"mail.properties": mail, SECRETS: "com.openexchange.mail.masterPassword=\\ hunter2 "})
    assert settings.mail is not None
    assert settings.mail.master_password == " hunter2 "


def test_nothing_that_is_read_shows_a_secret() -> None:
    secrets = (
        "com.openexchange.mail.masterPassword",
        "com.openexchange.push.credstorage.passcrypt",
        "com.openexchange.rest.services.basic-auth.password",
        "mailpush.redis.password",
        "mailpush.webhook.a.secret",
    )
    public = (
        "com.openexchange.mail.passwordSource=global\nmailpush.redis.url=redis://redis\nmailpush.webhooks=a\n"
        "mailpush.webhook.a.url=http://a"
    )
    settings = read({"a.properties": public, SECRETS: "".join(f"{key}=hunter2\n" for key in secrets)})
    assert settings.redis is not None
    assert settings.redis.password == settings.webhooks[0].secret == "hunter2"
    assert "hunter2" not in repr(settings)


def test_the_hash_of_a_configuration_depends_on_names_texts_and_secrets() -> None:
    hashes = [
        config_hash_of({"a": "1", "b": "2"}, "s"),
        config_hash_of({"a": "1", "b": "2"}, "t"),
        config_hash_of({"a": "2", "b": "1"}, "s"),
        config_hash_of({"a": "1"}, "s"),
        config_hash_of({"a": "1b2"}, "s"),
    ]
    assert len(set(hashes)) == len(hashes)
    assert config_hash_of({"b": "2", "a": "1"}, "s") == hashes[0]
    assert all(len(value) == 16 for value in hashes)
