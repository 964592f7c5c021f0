"""MailPushConfig: one mail push installation of a namespace."""

# ruff: noqa: RUF012 - pydantic copies a default that can change

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from mailpush.api.mailaccess import CredentialStorage, MailAccess
from mailpush.api.meta import (
    ClientPattern,
    DnsLabel,
    LocalReference,
    Model,
    SecretKeyReference,
    Toggle,
    list_map,
    rules,
)
from mailpush.names import MAX_CONFIG_NAME

Duration = Annotated[int, Field(ge=0, le=86_400_000)]
Quantity = Annotated[int | str, Field(json_schema_extra={"maxLength": 64})]
Toggles = Annotated[dict[Annotated[str, Field(max_length=253)], Toggle], Field(max_length=256)]


class Statuses(Model):
    """Packages or features by name."""

    status: Toggles = {}
    """Name of the package or feature: enabled or disabled."""


class DovecotMechanism(Model):
    """Dovecot's push_notification with the OX driver. dovecot-push.properties"""

    enabled: bool | None = None
    """com.openexchange.push.dovecot.enabled. Default: whether open-xchange-push-dovecot is enabled."""


class ImapIdleMechanism(Model):
    """IMAP IDLE, one connection a user. push_imapidle.properties"""

    enabled: bool | None = None
    """com.openexchange.push.imapidle.enabled. Default: whether open-xchange-push-imapidle is enabled."""
    supports_permanent_listeners: bool = False
    """com.openexchange.push.imapidle.supportsPermanentListeners. Off as in OX: it holds one connection a user."""
    folder: Annotated[str, Field(min_length=1, max_length=512)] = "INBOX"
    """com.openexchange.push.imapidle.folder"""
    delay: Duration = 5000
    """com.openexchange.push.imapidle.delay in milliseconds: the least time between two attempts to connect."""
    push_mode: Literal["always", "newmail"] = "always"
    """com.openexchange.push.imapidle.pushMode"""


class Mechanisms(Model):
    """How listeners learn of new mail."""

    order: Annotated[
        list[Literal["dovecot", "imapidle", "mailnotify"]],
        Field(
            max_length=3,
            json_schema_extra=rules(
                ("self.all(one, self.exists_one(other, other == one))", "mechanisms.order names a mechanism twice")
            ),
        ),
    ] = [
        "dovecot",
        "imapidle",
        "mailnotify",
    ]
    """Which is tried first where several are enabled for a user: the first that starts is taken. One that is left out
    comes last."""
    dovecot: DovecotMechanism = DovecotMechanism()
    """Dovecot's push_notification."""
    imapidle: ImapIdleMechanism = ImapIdleMechanism()
    """IMAP IDLE."""


class Callback(Model):
    """Where Dovecot's OX driver sends its events to: the callback Service, port 8009."""

    auth_secret_ref: LocalReference | None = None
    """A Secret with the keys login and password: com.openexchange.rest.services.basic-auth.login and .password.
    Default: the operator makes one, mail-push-<name>-callback."""


class Redis(Model):
    """The cluster memory."""

    url: Annotated[str, Field(pattern=r"^(redis|rediss)://[^@\s]+$", max_length=512)]
    """redis://host:6379/0, without a password."""
    password_secret_ref: SecretKeyReference | None = None
    """The password, where Redis asks for one."""


class Webhook(Model):
    """A target that is told of new mail by HTTP POST (docs/webhook.md)."""

    name: DnsLabel
    """Name of the target in metrics and conditions; part of the notification id."""
    url: Annotated[str, Field(pattern=r"^https?://[^@\s]+$", max_length=2048)]
    """Where to POST to. Redirects are not followed."""
    secret_ref: SecretKeyReference | None = None
    """Key of the signature (Standard Webhooks): whsec_<base64> or any text. Without it nothing is signed."""
    clients: Annotated[list[ClientPattern], Field(max_length=64)] = []
    """Patterns of client ids (* and ?): the target is told for users with such a client. Default: all."""
    timeout_milliseconds: Annotated[int, Field(ge=100, le=60000)] = 5000
    """How long an answer may take."""


class Transports(Model):
    """How notifications leave."""

    webhooks: Annotated[list[Webhook], Field(max_length=32, json_schema_extra=list_map("name"))] = []
    """Targets that are told by HTTP POST."""

class PodOverride(Model):
    """What is different in one listener pod."""

    ordinal: Annotated[int, Field(ge=0, le=999)]
    """Number of the pod: 3 is mail-push-<name>-3."""
    allow_permanent_push: bool
    """com.openexchange.push.allowPermanentPush in this pod. With false it takes no users; those that it has move."""



class Notification(Model):
    """What a notification tells."""

    content: Literal["none", "headers", "full"] = "headers"
    """none: that there is a mail, and where. headers: also sender, subject and unread count. full: also the first
    words."""


class Resources(Model):
    """Compute resources of a listener container."""

    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """Upper bounds, such as memory: 512Mi."""
    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    pod_overrides: Annotated[list[PodOverride], Field(max_length=256, json_schema_extra=list_map("ordinal"))] = []
    """Settings of single pods, such as which of them run no permanent listeners."""
    """What is set aside, such as cpu: 50m."""


class Listeners(Model):
    """The StatefulSet of listener pods."""

    replicas: Annotated[int, Field(ge=0, le=1000)] = 2
    """How many pods. With 0 nothing listens."""
    image: Annotated[str, Field(max_length=512)] | None = None
    """Image of the pods. Default: the operator's own."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """Default: IfNotPresent."""
    resources: Resources = Resources()
    """Compute resources."""
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] = {}
    """Labels that a node must have."""
    tolerations: Annotated[list[dict[str, Any]], Field(max_length=32)] = []
    """Taints that the pods tolerate (core/v1 Toleration)."""


NAME_RULE: Final = f"size(self.metadata.name) <= {MAX_CONFIG_NAME} && !self.metadata.name.contains('.')"
NAME_MESSAGE: Final = (
    f"metadata.name must have at most {MAX_CONFIG_NAME} characters and no dot: pods and Services are named after it"
)

SECRET_PROPERTIES: Final = {
    "com.openexchange.mail.masterPassword": "mailAccess.masterPasswordSecretRef",
    "com.openexchange.push.credstorage.passcrypt": "credentialStorage.passcryptSecretRef",
    "com.openexchange.rest.services.basic-auth.login": "callback.authSecretRef",
    "com.openexchange.rest.services.basic-auth.password": "callback.authSecretRef",
}
"""Properties that must not stand in `properties`, which anybody may read, and the field to use."""

SPEC_RULES: Final = (
    (
        "!has(self.mailAccess) || self.mailAccess.passwordSource != 'session' || self.credentialStorage.enabled || "
        "self.mailAccess.userSecrets.enabled || self.mailAccess.oauth.enabled || self.mailAccess.doveadm.enabled",
        'mailAccess.passwordSource is "session", so one of credentialStorage.enabled, mailAccess.userSecrets, '
        "mailAccess.oauth or mailAccess.doveadm is needed",
    ),
    *(
        (f"!('{key}' in self.properties)", f"properties must not hold {key}, which is a secret: use {field}")
        for key, field in SECRET_PROPERTIES.items()
    ),
    (
        "!self.properties.exists(key, key.startsWith('mailpush.'))",
        "properties must not hold mailpush.*, which the operator writes: use the fields",
    ),
)


class MailPushConfigSpec(Model):
    """What an administrator sets. The property that a field stands for is named in its description."""

    model_config = ConfigDict(json_schema_extra=rules(*SPEC_RULES))

    allow_permanent_push: bool = True
    """com.openexchange.push.allowPermanentPush: the general switch of permanent listeners."""
    allowed_clients: Annotated[list[ClientPattern], Field(max_length=64)] = [
        "USM-EAS*",
        "open-xchange-mobile-api-facade*",
    ]
    """com.openexchange.push.allowedClients: patterns of client ids (* and ?) that are told of new mail. Empty: all."""
    packages: Statuses = Statuses()
    """Push packages, as in OX's chart: open-xchange-push-dovecot: enabled. A push package that is not listed is off."""
    features: Statuses = Statuses()
    """Features, as in OX's chart; packages override them."""
    credential_storage: CredentialStorage = CredentialStorage()
    """OX's credential storage (not supported yet: a MailPushConfig with it says NotYetSupported)."""
    mail_access: MailAccess | None = None
    """How listeners reach the users' mailboxes. Without it nothing is started: condition MailAccessMissing."""
    mechanisms: Mechanisms = Mechanisms()
    """How listeners learn of new mail."""
    callback: Callback = Callback()
    """Where Dovecot sends its events to."""
    redis: Redis | None = None
    """Cluster memory, for claims of notifications. Without it each pod remembers by itself."""
    transports: Transports = Transports()
    """How notifications leave."""
    notification: Notification = Notification()
    """What a notification tells."""
    listeners: Listeners = Listeners()
    """The listener pods."""
    properties: Annotated[
        dict[Annotated[str, Field(max_length=253)], Annotated[str, Field(max_length=4096)]], Field(max_length=256)
    ] = {}
    """Any further OX property, verbatim; these win over what the fields say. Never put secrets here."""
