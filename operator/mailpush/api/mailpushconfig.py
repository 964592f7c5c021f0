"""MailPushConfig: one mail push installation of a namespace."""

# ruff: noqa: RUF012 - pydantic copies a default that can change

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from mailpush.api.catchup import CatchUp
from mailpush.api.credentialstorage import CredentialStorage
from mailpush.api.mailaccess import MailAccess
from mailpush.api.mechanisms import Mechanisms
from mailpush.api.meta import (
    BLANKS,
    LIST_SET,
    ClientPattern,
    DnsLabel,
    LocalReference,
    Milliseconds,
    Model,
    SecretKeyReference,
    Toggle,
    list_map,
    rules,
)
from mailpush.names import MAX_CONFIG_NAME

Quantity = Annotated[int | Annotated[str, Field(max_length=64)], Field(json_schema_extra={"maxLength": 64})]
ClientPatternList = Annotated[list[ClientPattern], Field(max_length=64)]
DeletionPolicy = Literal["Unregister", "Leave"]
UNREGISTER: Final = "Unregister"
LEAVE: Final = "Leave"
Toggles = Annotated[dict[str, Toggle], Field(max_length=256)]


class Statuses(Model):
    """Packages or features by name."""

    status: Toggles = {}
    """Name of the package or feature: enabled or disabled."""


class Packages(Statuses):
    """Push packages, as in OX's chart."""

    whitelist: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=253)]], Field(max_length=256, json_schema_extra=LIST_SET)
    ] = []
    """Where it names a package, exactly the named ones are enabled, and features.status and packages.status do not
    count (packages.whitelist of OX's chart)."""


class Reschedule(Model):
    """When OX nodes share out their users anew. Only what is set is rendered, for OX nodes that mount the same files.
    No effect here: users are assigned at once, and move only when a pod comes or goes."""

    on_registration: bool | None = None
    """com.openexchange.push.rescheduleOnRegistration. OX's default: false. True: a new user makes OX share out all
    users anew. No effect here."""
    delay_duration: Milliseconds | None = None
    """com.openexchange.push.reschedule.delayDuration. OX's default: 5000 milliseconds of quiet before users are shared
    out. No effect here."""
    timer_frequency: Milliseconds | None = None
    """com.openexchange.push.reschedule.timerFrequency. OX's default: every 2000 milliseconds OX looks whether it is
    time. No effect here."""


class Admin(Model):
    """Where the command pushusers asks a listener pod for its listeners: port 1099 of each pod."""

    auth_secret_ref: LocalReference | None = None
    """A Secret with the keys login and password: what pushusers is given with -A and -P. Default: nobody is let in."""
    tls_secret_ref: LocalReference | None = None
    """A Secret with the keys tls.crt and tls.key, with which the endpoint talks TLS. Default: plain HTTP."""


class Callback(Model):
    """Where Dovecot's OX driver sends its events to: the callback Service, port 8009."""

    auth_secret_ref: LocalReference | None = None
    """A Secret with the keys login and password: com.openexchange.rest.services.basic-auth.login and .password.
    Default: the operator makes one, mail-push-<name>-callback."""


class Redis(Model):
    """The cluster memory."""

    url: Annotated[str, Field(pattern=rf"^rediss?(\+sentinel|\+cluster)?://[^@{BLANKS}]+$", max_length=512)]
    """redis://host:6379/0, without a login; redis+sentinel://host:26379,host:26379/NAME/0 asks Sentinels for the master
    NAME; redis+cluster://host:6379 is a Redis Cluster. rediss in place of redis is TLS, to Sentinels as well. Its
    maxmemory-policy must be noeviction, or mails may notify twice."""
    username: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The user, where Redis has several. Default: its user default."""
    password_secret_ref: SecretKeyReference | None = None
    """The password, where Redis asks for one."""
    ca_secret_ref: SecretKeyReference | None = None
    """With rediss: PEM certificates that the server's must be signed by. Default: the image's own."""


class Webhook(Model):
    """A target that receives notifications of new mail by HTTP POST (docs/webhook.md)."""

    name: DnsLabel
    """Name of the target in metrics and conditions; part of the notification id."""
    url: Annotated[str, Field(pattern=rf"^https?://[^@{BLANKS}]+$", max_length=2048)]
    """Where to POST to. Redirects are not followed."""
    secret_ref: SecretKeyReference | None = None
    """Key of the signature (Standard Webhooks): whsec_<base64> or any text. Without it nothing is signed."""
    clients: Annotated[list[ClientPattern], Field(max_length=64)] = []
    """Patterns of client ids (* and ?): the target is notified for users with such a client. Default: all."""
    timeout_milliseconds: Annotated[int, Field(ge=100, le=60000)] = 5000
    """How long an answer may take."""


class Transports(Model):
    """How notifications leave."""

    webhooks: Annotated[list[Webhook], Field(max_length=32, json_schema_extra=list_map("name"))] = []
    """Targets that are notified by HTTP POST."""


class Notification(Model):
    """What a notification contains."""

    content: Literal["none", "headers", "full"] = "headers"
    """none: that there is a mail, and where. headers: also sender, subject and unread count. full: also the first
    words."""


class Resources(Model):
    """Compute resources of a listener container."""

    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """Upper bounds, such as memory: 512Mi."""
    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """What is set aside, such as cpu: 50m."""


DEFAULT_RESOURCES: Final = Resources(limits={"memory": "1Gi"}, requests={"cpu": "50m", "memory": "128Mi"})
"""No limit of the CPU: a pod that is throttled renews its Lease late, and loses its users."""


class PodOverride(Model):
    """What is different in one listener pod."""

    ordinal: Annotated[int, Field(ge=0, le=999)]
    """Number of the pod: 3 is mail-push-<name>-3."""
    allow_permanent_push: bool
    """com.openexchange.push.allowPermanentPush in this pod. With false it takes no users; those that it has move."""


class Listeners(Model):
    """The StatefulSet of listener pods."""

    replicas: Annotated[int, Field(ge=0, le=1000)] = 2
    """How many pods. With 0 nothing listens."""
    image: Annotated[str, Field(max_length=512)] | None = None
    """Image of the pods. Default: the operator's own."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """Default: IfNotPresent."""
    resources: Resources = DEFAULT_RESOURCES
    """Compute resources. What is set here takes the place of the whole default: {} is without any."""
    node_selector: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] = {}
    """Labels that a node must have."""
    tolerations: Annotated[list[dict[str, Any]], Field(max_length=32)] = []
    """Taints that the pods tolerate (core/v1 Toleration)."""
    affinity: dict[str, Any] = {}
    """Which nodes and neighbours the pods want (core/v1 Affinity). A podAntiAffinity takes the place of the preference
    for zones with fewer listener pods."""
    topology_spread_constraints: Annotated[list[dict[str, Any]], Field(max_length=16)] | None = None
    """Takes the place of the pods' whole spread (core/v1 TopologySpreadConstraint; without a labelSelector the listener
    pods are meant). Default: even over the nodes and over the zones as far as that goes (ScheduleAnyway)."""
    priority_class_name: Annotated[str, Field(max_length=253)] | None = None
    """PriorityClass of the pods. Default: the cluster's."""
    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=32)] = {}
    """Further labels of the pods. The operator's own win."""
    annotations: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=32)] = {}
    """Further annotations of the pods. The operator's own win."""
    pod_security_context: dict[str, Any] | None = None
    """Takes the place of the pods' whole security context (core/v1 PodSecurityContext). Default: user and group 65532,
    no root, seccomp RuntimeDefault."""
    security_context: dict[str, Any] | None = None
    """Takes the place of the container's whole security context (core/v1 SecurityContext). Default: no privilege
    escalation, no capabilities, a read-only root file system."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Below this level nothing is logged."""
    pod_overrides: Annotated[list[PodOverride], Field(max_length=256, json_schema_extra=list_map("ordinal"))] = []
    """Settings of single pods, such as which of them run no permanent listeners."""


NAME_RULE: Final = f"size(self.metadata.name) <= {MAX_CONFIG_NAME} && !self.metadata.name.contains('.')"
NAME_MESSAGE: Final = (
    f"metadata.name must have at most {MAX_CONFIG_NAME} characters and no dot: pods and Services are named after it"
)

SECRET_PROPERTIES: Final = {
    "com.openexchange.mail.masterPassword": "mailAccess.masterPasswordSecretRef",
    "com.openexchange.push.credstorage.passcrypt": "credentialStorage.passcryptSecretRef",
    "com.openexchange.dovecot.doveadm.apiSecret": "mailAccess.doveadm.apiSecretRef",
    "com.openexchange.rest.services.basic-auth.login": "callback.authSecretRef",
    "com.openexchange.rest.services.basic-auth.password": "callback.authSecretRef",
}
"""Properties that must not stand in `properties`, which anybody may read, and the field to use."""

_ALLOWED_CLIENT: Final = "com.openexchange.push.allowedClient"

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
        "!has(self.allowedClient) || !has(self.allowedClients) || self.allowedClient == self.allowedClients",
        "allowedClient and allowedClients are both set and differ: allowedClient is another spelling of "
        "allowedClients, so keep allowedClients alone",
    ),
    (
        f"!('{_ALLOWED_CLIENT}' in self.properties && '{_ALLOWED_CLIENT}s' in self.properties) || "
        f"self.properties['{_ALLOWED_CLIENT}'] == self.properties['{_ALLOWED_CLIENT}s']",
        f"properties has {_ALLOWED_CLIENT} and {_ALLOWED_CLIENT}s, and they differ: keep {_ALLOWED_CLIENT}s alone",
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
    """com.openexchange.push.allowPermanentPush. The general switch of permanent listeners."""
    allowed_clients: ClientPatternList | None = None
    """com.openexchange.push.allowedClients. Patterns of client ids (* and ?) that are notified of new mail. An empty
    list allows every client. Default: USM-EAS*, open-xchange-mobile-api-facade*."""
    allowed_client: ClientPatternList | None = None
    """com.openexchange.push.allowedClient. The spelling of OX's article, which OX itself does not read. Taken as
    allowedClients, with a warning."""
    packages: Packages = Packages()
    """Push packages, as in OX's chart: open-xchange-push-dovecot: enabled. A push package that is not listed is off."""
    features: Statuses = Statuses()
    """Features, as in OX's chart; packages override them."""
    reschedule: Reschedule = Reschedule()
    """When OX nodes share out their users anew. No effect here."""
    credential_storage: CredentialStorage = CredentialStorage()
    """OX's credential storage: passwords of push users, encrypted."""
    mail_access: MailAccess | None = None
    """How listeners reach the users' mailboxes. Without it nothing is started: condition MailAccessMissing."""
    mechanisms: Mechanisms = Mechanisms()
    """How listeners learn of new mail."""
    callback: Callback = Callback()
    """Where Dovecot sends its events to."""
    admin: Admin = Admin()
    """Where the command pushusers asks."""
    redis: Redis | None = None
    """Cluster memory: claims of notifications, checkpoints, and credentials without rdb. Without it each pod remembers
    by itself."""
    transports: Transports = Transports()
    """How notifications leave."""
    notification: Notification = Notification()
    """What a notification contains."""
    catch_up: CatchUp = CatchUp()
    """Mails that nobody was told of when they arrived."""
    listeners: Listeners = Listeners()
    """The listener pods."""
    deletion_policy: DeletionPolicy = UNREGISTER
    """What becomes of a user's registration at Dovecot when the PushUser is deleted, or the installation is removed.
    Unregister: a finalizer keeps the PushUser until it is taken away, for a minute at most. Leave: it stays, Dovecot
    goes on calling for the user, and no PushUser has a finalizer."""
    properties: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=256)] = {}
    """Any further OX property, verbatim; these win over what the fields say. Never put secrets here."""
