"""What a MailPushConfig is rendered into, compared word by word and read back by three readers."""

from pathlib import Path

import pytest
import yaml

from mailpush.api.credentialstorage import CredentialStorage
from mailpush.api.mailaccess import Doveadm
from mailpush.api.mailpushconfig import MailPushConfigSpec, Notification, Reschedule
from mailpush.api.mechanisms import DovecotSettings, ImapIdleSettings, MailNotifySettings
from mailpush.properties.admin import AdminSettings
from mailpush.properties.format import load
from mailpush.properties.hashes import config_hash_of
from mailpush.properties.patterns import ClientPatterns
from mailpush.properties.read import read
from mailpush.properties.render import RenderedConfig
from mailpush.properties.settings import (
    CallbackSettings,
    DatabaseSettings,
    MailSettings,
    OAuthSettings,
    OxCredentialSettings,
    RedisSettings,
    ServerSettings,
    Settings,
    TokenEndpointSettings,
    WebhookSettings,
)
from tests.golden import javaproperties, jvm
from tests.golden.cases import CASES, CERTIFICATE, PASSWORD, Case

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

DEFAULTS = Settings(
    allow_permanent_push=True,
    allowed_clients=ClientPatterns.parse("USM-EAS*, open-xchange-mobile-api-facade*"),
    packages=frozenset({"open-xchange-push-dovecot", "open-xchange-rest"}),
    mechanisms_order=("dovecot", "imapidle", "mailnotify"),
    mail=None,
    credential_storage=CredentialStorage(),
    dovecot=DovecotSettings(enabled=True),
    imapidle=ImapIdleSettings(enabled=False),
    mailnotify=MailNotifySettings(enabled=False),
    callback=CallbackSettings(),
    redis=None,
    webhooks=(),
    notification=Notification(content="headers"),
)
CALLBACK = CallbackSettings(
    PASSWORD.format(path="callback.authSecretRef.login"), PASSWORD.format(path="callback.authSecretRef.password")
)
MASTER_PASSWORD = PASSWORD.format(path="mailAccess.masterPasswordSecretRef")


def settings(**changes: object) -> Settings:
    return Settings(**{name: getattr(DEFAULTS, name) for name in DEFAULTS.__slots__} | changes)


MEANINGS = {
    "page": settings(
        credential_storage=CredentialStorage.model_construct(enabled=True, rdb=True),
        passcrypt=PASSWORD.format(path="credentialStorage.passcryptSecretRef").strip(),
    ),
    "user-secrets": settings(
        mail=MailSettings(
            password_source="session",
            login_source="mail",
            user_secrets=True,
            oauth=OAuthSettings(token=PASSWORD.format(path="mailAccess.oauth.tokenSecretRef")),
            servers=(
                ServerSettings("default", "imap.example.org", 993, "tls"),
                ServerSettings(
                    "old", "192.0.2.7", 1143, "starttls", CERTIFICATE.rstrip(), server_name="imap.example.org"
                ),
            ),
        ),
        callback=CALLBACK,
    ),
    "imapidle": settings(
        packages=frozenset({"open-xchange-push-dovecot", "open-xchange-push-imapidle", "open-xchange-rest"}),
        mechanisms_order=("imapidle", "dovecot"),
        dovecot=DovecotSettings(enabled=False),
        imapidle=ImapIdleSettings(enabled=True, supports_permanent_listeners=True, delay=10000, push_mode="newmail"),
        mail=MailSettings(
            password_source="global",
            login_source="login",
            master_password=MASTER_PASSWORD,
            servers=(ServerSettings("default", "dovecot", 143, "none"),),
        ),
    ),
    "odd-characters": settings(
        reschedule=Reschedule(delay_duration=3000),
        allowed_clients=ClientPatterns.parse("documented*, spelling"),
        packages=frozenset({"open-xchange-push-imapidle"}),
        dovecot=DovecotSettings(enabled=False),
        imapidle=ImapIdleSettings(enabled=True, folder="INBOX\\Eingänge = #1: 📬"),
        mail=MailSettings(
            password_source="global",
            login_source="name",
            master_password=MASTER_PASSWORD,
            master_user="#master=user: ü",
            servers=(ServerSettings("default", "dovecot", 993, "tls"),),
        ),
        by_property=frozenset(
            {
                "com.openexchange.mail.loginSource",
                "com.openexchange.push.allowedClients",
                "com.openexchange.push.reschedule.delayDuration",
            }
        ),
    ),
    "every-property": settings(
        leaves_registrations=True,
        allow_permanent_push=False,
        allowed_clients=ClientPatterns.parse("the-articles-spelling*"),
        packages=frozenset(
            f"open-xchange-{name}" for name in ("push-dovecot", "push-imapidle", "push-mailnotify", "rest")
        ),
        mechanisms_order=("mailnotify",),
        credential_storage=CredentialStorage.model_construct(enabled=True, rdb=True),
        passcrypt=PASSWORD.format(path="credentialStorage.passcryptSecretRef").strip(),
        mail=MailSettings(
            password_source="global",
            login_source="mailLocalPart",
            sane_login=False,
            master_password=MASTER_PASSWORD,
            servers=(ServerSettings("six", "2001:db8::1", 993, "tls"),),
            server_source="global",
            auth_proxy_delimiter="*",
        ),
        dovecot=DovecotSettings(enabled=False, stateless=False, cluster_lock="db", prefer_doveadm_for_metadata=True),
        imapidle=ImapIdleSettings(
            enabled=False,
            supports_permanent_listeners=True,
            folder="INBOX/Sub folder",
            delay=9,
            push_mode="newmail",
            account_id=8,
            cluster_lock="local",
            validate_session_existence=True,
            check_periodic=True,
        ),
        mailnotify=MailNotifySettings(
            enabled=False,
            udp_listen_multicast=True,
            udp_listen_host="239.1.2.3",
            udp_listen_port=10,
            imap_login_delimiter="@",
            use_ox_login=True,
            use_full_email_address=True,
            delay_millis=11,
        ),
        doveadm=Doveadm(
            enabled=True,
            endpoints=["http://one:8080/doveadm/v1", "https://two:8443/doveadm/v1"],
            total_connections=3,
            max_connections_per_route=4,
            read_timeout=5,
            connect_timeout=6,
            check_interval=7,
        ),
        doveadm_api_secret=PASSWORD.format(path="mailAccess.doveadm.apiSecretRef"),
        reschedule=Reschedule(on_registration=True, delay_duration=1, timer_frequency=2),
        callback=CALLBACK,
        admin=AdminSettings(
            login=PASSWORD.format(path="admin.authSecretRef.login"),
            password=PASSWORD.format(path="admin.authSecretRef.password"),
            certificate=CERTIFICATE.rstrip(),
            key=PASSWORD.format(path="admin.tlsSecretRef[tls.key]"),
        ),
        pod_overrides={4: True},
        replicas=5,
    ),
    "everything": settings(
        doveadm=Doveadm(endpoints=["http://dovecot:8080/doveadm/v1"], authentication="password"),
        doveadm_ca=CERTIFICATE.rstrip(),
        mail=MailSettings(
            password_source="global",
            login_source="login",
            master_password=MASTER_PASSWORD,
            master_user="mailpush",
            servers=(ServerSettings("default", "dovecot", 143, "starttls", verify=False),),
            oauth=OAuthSettings(
                mechanism="XOAUTH2",
                endpoint=TokenEndpointSettings(
                    url="https://id.example.org/realms/mail/protocol/openid-connect/token",
                    client_id="mail-push",
                    client_secret=PASSWORD.format(path="mailAccess.oauth.tokenEndpoint.clientSecretRef"),
                    scope="openid email",
                    audience="dovecot",
                    authentication="post",
                    ca_pem=CERTIFICATE.rstrip(),
                ),
            ),
        ),
        callback=CALLBACK,
        credential_storage=CredentialStorage.model_construct(enabled=True, rdb=True),
        passcrypt=PASSWORD.format(path="credentialStorage.passcryptSecretRef").strip(),
        passcrypt_previous=PASSWORD.format(path="credentialStorage.passcryptPreviousSecretRef").strip(),
        database=DatabaseSettings(
            "mariadb://mariadb:3306/mailpush",
            username="mailpush",
            password=PASSWORD.format(path="credentialStorage.database.passwordSecretRef"),
            tls="verify",
            ca_pem=CERTIFICATE.rstrip(),
            pool_size=8,
            timeout_ms=1500,
        ),
        ox=OxCredentialSettings(
            "read",
            "legacy",
            DatabaseSettings(
                "mysql://configdb:3306/configdb",
                username="readonly",
                password=PASSWORD.format(path="credentialStorage.ox.database.passwordSecretRef"),
                tls="verify",
                ca_pem=CERTIFICATE.rstrip(),
            ),
        ),
        redis=RedisSettings(
            "rediss://redis:6380/1",
            PASSWORD.format(path="redis.passwordSecretRef"),
            username="mailpush",
            ca_pem=CERTIFICATE.rstrip(),
        ),
        webhooks=(
            WebhookSettings(
                "receiver",
                "http://webhook-receiver:8080/",
                ClientPatterns(),
                PASSWORD.format(path="transports.webhooks[receiver].secretRef"),
            ),
            WebhookSettings(
                "mobile-only",
                "https://example.org/push?from=mail&x=1#fragment",
                ClientPatterns.parse("open-xchange-mobile-api-facade*"),
                timeout_ms=2500,
            ),
        ),
        notification=Notification(content="full"),
    ),
}

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder.name)


def test_every_folder_has_its_meaning() -> None:
    assert {case.folder.name for case in CASES} == MEANINGS.keys()


@each_case
def test_the_files_are_rendered_as_they_stand_here(case: Case) -> None:
    assert case.actual() == case.expected(), "if this is meant: python -m tests.golden, and look at the difference"


@each_case
def test_the_files_mean_what_the_resource_says(case: Case) -> None:
    assert read(case.rendered().directory) == MEANINGS[case.folder.name]


@each_case
def test_a_second_reader_finds_the_same_properties(case: Case) -> None:
    for name, text in case.rendered().directory.items():
        assert javaproperties.read(text) == load(text), name


def examples() -> list[RenderedConfig]:
    """The MailPushConfigs of examples/, with every secret that they name; in values.yaml it is the chart's."""
    documents = list(yaml.safe_load_all((EXAMPLES / "mailpushconfig.yaml").read_text()))
    values = yaml.safe_load((EXAMPLES / "values.yaml").read_text())
    specs = [*(document["spec"] for document in documents), values["mailPushConfig"]["spec"]]
    return [Case(EXAMPLES, "main", MailPushConfigSpec.model_validate(spec)).rendered() for spec in specs]


@pytest.mark.skipif(not jvm.available(), reason="no java here: install a JRE to compare with Java itself")
def test_java_finds_the_same_properties() -> None:
    configs = [*(case.rendered() for case in CASES), *examples()]
    texts = [text for config in configs for text in config.directory.values()]
    assert jvm.read(texts) == [load(text) for text in texts]


@each_case
def test_secrets_stand_in_the_secret_alone(case: Case) -> None:
    config = case.rendered()
    public = "".join([*config.files.values(), *config.boot_files.values(), repr(config), repr(case.secrets())])
    for text in config.secret_files.values():
        for key, value in load(text).items():
            assert key not in public
            assert value not in public
            assert value not in repr(read(config.directory))


@each_case
def test_a_listener_finds_the_hash_that_the_operator_wrote(case: Case) -> None:
    config = case.rendered()
    assert config_hash_of(config.files, config.secrets_hash) == config.config_hash
