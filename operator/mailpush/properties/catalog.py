"""The table of all settings: of each its field, its property, the file of that, and how a change of it is taken.

Rendering, reading back and docs/configuration.md go by it; type, bounds, default and description stand in the model of
the field. So a plain setting of one of the SECTIONS is a field in the model and a row here, and nothing else. A part in
braces stands for a name: `mailpush.webhook.{name}.url`.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from mailpush.api.catchup import CatchUp, Sweep
from mailpush.api.credentialstorage import CredentialStorage
from mailpush.api.mailaccess import Doveadm
from mailpush.api.mailpushconfig import Notification, Reschedule
from mailpush.api.mechanisms import DovecotSettings, ImapIdleSettings, MailNotifySettings
from mailpush.api.meta import Model
from mailpush.packages import DOVECOT, IMAPIDLE, MAILNOTIFY
from mailpush.properties import admin, keys


class Reload(StrEnum):
    """How a change is taken."""

    LIVE = "live"
    """Running listeners take it from the API within seconds."""
    RESTART = "restart"
    """The StatefulSet rolls, one pod at a time; users are handed over before."""
    NO_EFFECT = "no effect"
    """Rendered for OX nodes that mount the same files. Nothing here goes by it."""
    NOT_YET = "not yet"
    """For a part that does not exist yet: switched on, it says NotYetSupported."""


RELOADS: Final = MappingProxyType(
    {
        Reload.LIVE: "running listeners take it from the API within seconds, without a restart",
        Reload.RESTART: "the StatefulSet rolls, one pod at a time; users are handed over before a pod ends",
        Reload.NO_EFFECT: "it is rendered for OX nodes that mount the same files; nothing here goes by it",
        Reload.NOT_YET: "for a part that does not exist yet: switched on, the MailPushConfig says NotYetSupported",
    }
)


class Setting(NamedTuple):
    """One line of the table."""

    field: str
    """Path in the spec of a MailPushConfig; `[]` stands behind a list."""
    key: str | None
    """The property; None where there is none, such as for what a pod's template takes."""
    reload: Reload
    default: str | None = None
    """The default where the field itself shows none."""
    secret: bool = False
    """Whether it stands in the Secret."""
    package: str | None = None
    """For a field that is not set: it is on where this package is in effect."""
    lenient: bool = False
    """A word that is not known counts as `none`, as OX takes it."""
    since: str = "0.1"
    """The release that has it first."""

    @property
    def file(self) -> str | None:
        """The file that it is rendered into."""
        if self.key is None:
            return None
        if self.secret:
            return keys.SECRETS_FILE
        return keys.BOOT_FILE if self.reload is Reload.RESTART else keys.file_of(self.key)


_ON: Final = "whether the package is enabled"
_DOVEADM: Final = "mailAccess.doveadm"
_REQUESTS: Final = "cpu: 50m, memory: 128Mi; none where resources is set"
_NOTIFY: Final = "mechanisms.mailnotify"
_IDLE: Final = "mechanisms.imapidle"
_ENDPOINT: Final = "mailAccess.oauth.tokenEndpoint"


def _database(field: str, key: str) -> tuple[Setting, ...]:
    """The lines of a database."""
    return (
        Setting(f"{field}.url", keys.database_key(key, "url"), Reload.LIVE),
        Setting(f"{field}.username", keys.database_key(key, "username"), Reload.LIVE, "none"),
        Setting(f"{field}.passwordSecretRef", keys.database_key(key, "password"), Reload.LIVE, secret=True),
        Setting(f"{field}.tls", keys.database_key(key, "tls"), Reload.LIVE),
        Setting(f"{field}.caSecretRef", keys.database_key(key, "ca"), Reload.LIVE, secret=True),
        Setting(f"{field}.poolSize", keys.database_key(key, "poolSize"), Reload.LIVE),
        Setting(f"{field}.timeoutMilliseconds", keys.database_key(key, "timeout"), Reload.LIVE),
    )


SETTINGS: Final = (
    Setting("allowPermanentPush", keys.ALLOW_PERMANENT_PUSH, Reload.LIVE),
    Setting("allowedClients", keys.ALLOWED_CLIENTS, Reload.LIVE, "USM-EAS*, open-xchange-mobile-api-facade*"),
    Setting("allowedClient", keys.ALLOWED_CLIENTS, Reload.LIVE, "as allowedClients"),
    Setting("reschedule.onRegistration", keys.RESCHEDULE_ON_REGISTRATION, Reload.NO_EFFECT, "false, not rendered"),
    Setting("reschedule.delayDuration", keys.RESCHEDULE_DELAY, Reload.NO_EFFECT, "5000, not rendered"),
    Setting("reschedule.timerFrequency", keys.RESCHEDULE_FREQUENCY, Reload.NO_EFFECT, "2000, not rendered"),
    Setting("credentialStorage.enabled", keys.CREDSTORAGE_ENABLED, Reload.LIVE),
    Setting("credentialStorage.rdb", keys.CREDSTORAGE_RDB, Reload.LIVE),
    Setting("credentialStorage.passcryptSecretRef", keys.CREDSTORAGE_PASSCRYPT, Reload.LIVE, secret=True),
    Setting("credentialStorage.generatePasscrypt", None, Reload.LIVE),
    Setting("credentialStorage.passcryptPreviousSecretRef", keys.PASSCRYPT_PREVIOUS, Reload.LIVE, secret=True),
    *_database("credentialStorage.database", keys.DATABASE),
    Setting("credentialStorage.ox.credentials", keys.OX_CREDENTIALS, Reload.LIVE),
    Setting("credentialStorage.ox.form", keys.OX_FORM, Reload.LIVE),
    *_database("credentialStorage.ox.database", keys.CONFIGDB),
    Setting("mailAccess.passwordSource", keys.PASSWORD_SOURCE, Reload.LIVE),
    Setting("mailAccess.loginSource", keys.LOGIN_SOURCE, Reload.LIVE),
    Setting("mailAccess.loginSource", keys.OUR_LOGIN_SOURCE, Reload.LIVE, "only with mailLocalPart"),
    Setting("mailAccess.saneLogin", keys.SANE_LOGIN, Reload.LIVE),
    Setting("mailAccess.authProxyDelimiter", keys.AUTH_PROXY_DELIMITER, Reload.LIVE, "unset"),
    Setting("mailAccess.mailServerSource", keys.MAIL_SERVER_SOURCE, Reload.LIVE),
    Setting("mailAccess.mailServerSource", keys.MAIL_SERVER, Reload.NO_EFFECT, "URL of the first server"),
    Setting("mailAccess.mailServerSource", keys.MAIL_STARTTLS, Reload.NO_EFFECT, "security of the first server"),
    Setting("mailAccess.masterPasswordSecretRef", keys.MASTER_PASSWORD, Reload.LIVE, secret=True),
    Setting("mailAccess.masterUser.name", keys.MASTER_USER, Reload.LIVE),
    Setting("mailAccess.userSecrets.enabled", keys.USER_SECRETS, Reload.LIVE),
    Setting("mailAccess.oauth.enabled", keys.OAUTH, Reload.LIVE),
    Setting("mailAccess.oauth.mechanism", keys.OAUTH_MECHANISM, Reload.LIVE),
    Setting("mailAccess.oauth.tokenSecretRef", keys.OAUTH_TOKEN, Reload.LIVE, secret=True),
    Setting(f"{_ENDPOINT}.url", keys.endpoint_key("url"), Reload.LIVE),
    Setting(f"{_ENDPOINT}.clientId", keys.endpoint_key("clientId"), Reload.LIVE),
    Setting(f"{_ENDPOINT}.clientSecretRef", keys.endpoint_key("clientSecret"), Reload.LIVE, secret=True),
    Setting(f"{_ENDPOINT}.clientAuthentication", keys.endpoint_key("clientAuthentication"), Reload.LIVE),
    Setting(f"{_ENDPOINT}.scope", keys.endpoint_key("scope"), Reload.LIVE, "none"),
    Setting(f"{_ENDPOINT}.audience", keys.endpoint_key("audience"), Reload.LIVE, "none"),
    Setting(f"{_ENDPOINT}.caSecretRef", keys.endpoint_key("ca"), Reload.LIVE, secret=True),
    Setting("mailAccess.servers[].name", keys.SERVERS, Reload.LIVE),
    Setting("mailAccess.servers[].host", keys.server_key("{name}", "host"), Reload.LIVE),
    Setting("mailAccess.servers[].port", keys.server_key("{name}", "port"), Reload.LIVE, "993 for tls, else 143"),
    Setting("mailAccess.servers[].security", keys.server_key("{name}", "security"), Reload.LIVE),
    Setting("mailAccess.servers[].caSecretRef", keys.server_key("{name}", "ca"), Reload.LIVE, secret=True),
    Setting("mailAccess.servers[].serverName", keys.server_key("{name}", "serverName"), Reload.LIVE, "host"),
    Setting("mailAccess.servers[].insecureSkipVerify", keys.server_key("{name}", "verify"), Reload.LIVE),
    Setting("mechanisms.order", keys.MECHANISMS_ORDER, Reload.LIVE),
    Setting("mechanisms.dovecot.enabled", keys.DOVECOT_ENABLED, Reload.LIVE, _ON, package=DOVECOT),
    Setting("mechanisms.dovecot.stateless", keys.DOVECOT_STATELESS, Reload.NO_EFFECT),
    Setting("mechanisms.dovecot.clusterLock", keys.DOVECOT_CLUSTER_LOCK, Reload.NO_EFFECT, lenient=True),
    Setting("mechanisms.dovecot.preferDoveadmForMetadata", keys.DOVECOT_PREFER_DOVEADM, Reload.LIVE),
    Setting("mechanisms.dovecot.userForm", keys.DOVECOT_USER_FORM, Reload.LIVE),
    Setting(f"{_DOVEADM}.enabled", keys.DOVEADM_ENABLED, Reload.LIVE),
    Setting(f"{_DOVEADM}.endpoints", keys.DOVEADM_ENDPOINTS, Reload.LIVE),
    Setting(f"{_DOVEADM}.totalConnections", keys.DOVEADM_TOTAL_CONNECTIONS, Reload.LIVE),
    Setting(f"{_DOVEADM}.maxConnectionsPerRoute", keys.DOVEADM_CONNECTIONS_PER_ROUTE, Reload.LIVE),
    Setting(f"{_DOVEADM}.readTimeout", keys.DOVEADM_READ_TIMEOUT, Reload.LIVE),
    Setting(f"{_DOVEADM}.connectTimeout", keys.DOVEADM_CONNECT_TIMEOUT, Reload.LIVE),
    Setting(f"{_DOVEADM}.checkInterval", keys.DOVEADM_CHECK_INTERVAL, Reload.LIVE),
    Setting(f"{_DOVEADM}.apiSecretRef", keys.DOVEADM_API_SECRET, Reload.LIVE, secret=True),
    Setting(f"{_DOVEADM}.authentication", keys.DOVEADM_AUTHENTICATION, Reload.LIVE),
    Setting(f"{_DOVEADM}.caSecretRef", keys.DOVEADM_CA, Reload.LIVE, secret=True),
    Setting(f"{_IDLE}.enabled", keys.IMAPIDLE_ENABLED, Reload.LIVE, _ON, package=IMAPIDLE),
    Setting(f"{_IDLE}.supportsPermanentListeners", keys.IMAPIDLE_PERMANENT, Reload.LIVE),
    Setting(f"{_IDLE}.accountId", keys.IMAPIDLE_ACCOUNT, Reload.NOT_YET),
    Setting(f"{_IDLE}.folder", keys.IMAPIDLE_FOLDER, Reload.LIVE),
    Setting(f"{_IDLE}.delay", keys.IMAPIDLE_DELAY, Reload.LIVE),
    Setting(f"{_IDLE}.pushMode", keys.IMAPIDLE_PUSH_MODE, Reload.LIVE),
    Setting(f"{_IDLE}.clusterLock", keys.IMAPIDLE_CLUSTER_LOCK, Reload.NO_EFFECT, lenient=True),
    Setting(f"{_IDLE}.validateSessionExistence", keys.IMAPIDLE_VALIDATE_SESSION, Reload.NO_EFFECT),
    Setting(f"{_IDLE}.checkPeriodic", keys.IMAPIDLE_CHECK_PERIODIC, Reload.NO_EFFECT),
    Setting(f"{_NOTIFY}.enabled", keys.MAILNOTIFY_ENABLED, Reload.NOT_YET, _ON, package=MAILNOTIFY),
    Setting(f"{_NOTIFY}.udpListenMulticast", keys.MAILNOTIFY_MULTICAST, Reload.NOT_YET),
    Setting(f"{_NOTIFY}.udpListenHost", keys.MAILNOTIFY_HOST, Reload.NOT_YET),
    Setting(f"{_NOTIFY}.udpListenPort", keys.MAILNOTIFY_PORT, Reload.NOT_YET),
    Setting(f"{_NOTIFY}.useOxLogin", keys.MAILNOTIFY_OX_LOGIN, Reload.NOT_YET),
    Setting(f"{_NOTIFY}.useFullEmailAddress", keys.MAILNOTIFY_FULL_ADDRESS, Reload.NOT_YET),
    Setting(f"{_NOTIFY}.delayMillis", keys.MAILNOTIFY_DELAY, Reload.NOT_YET),
    Setting(f"{_NOTIFY}.imapLoginDelimiter", keys.MAILNOTIFY_DELIMITER, Reload.NOT_YET, "unset"),
    Setting("callback.authSecretRef", keys.CALLBACK_LOGIN, Reload.LIVE, "made by the operator", secret=True),
    Setting("callback.authSecretRef", keys.CALLBACK_PASSWORD, Reload.LIVE, "made by the operator", secret=True),
    Setting("admin.authSecretRef", admin.LOGIN, Reload.LIVE, "nobody is let in", secret=True),
    Setting("admin.authSecretRef", admin.PASSWORD, Reload.LIVE, "nobody is let in", secret=True),
    Setting("admin.tlsSecretRef", admin.CERTIFICATE, Reload.LIVE, "plain HTTP", secret=True),
    Setting("admin.tlsSecretRef", admin.KEY, Reload.LIVE, "plain HTTP", secret=True),
    Setting("packages.status", keys.PACKAGES, Reload.LIVE),
    Setting("packages.whitelist", keys.PACKAGES, Reload.LIVE),
    Setting("features.status", keys.PACKAGES, Reload.LIVE),
    Setting("redis.url", keys.REDIS_URL, Reload.RESTART, "none: each pod remembers by itself"),
    Setting("redis.username", keys.REDIS_USERNAME, Reload.LIVE, "default"),
    Setting("redis.passwordSecretRef", keys.REDIS_PASSWORD, Reload.LIVE, secret=True),
    Setting("redis.caSecretRef", keys.REDIS_CA, Reload.LIVE, secret=True),
    Setting("transports.webhooks[].name", keys.WEBHOOKS, Reload.LIVE),
    Setting("transports.webhooks[].url", keys.webhook_key("{name}", "url"), Reload.LIVE),
    Setting("transports.webhooks[].secretRef", keys.webhook_key("{name}", "secret"), Reload.LIVE, secret=True),
    Setting("transports.webhooks[].clients", keys.webhook_key("{name}", "clients"), Reload.LIVE, "all"),
    Setting("transports.webhooks[].timeoutMilliseconds", keys.webhook_key("{name}", "timeout"), Reload.LIVE),
    Setting("notification.content", keys.NOTIFICATION_CONTENT, Reload.LIVE),
    Setting("catchUp.maxAge", keys.CATCH_UP_MAX_AGE, Reload.LIVE),
    Setting("catchUp.sweep.enabled", keys.SWEEP_ENABLED, Reload.LIVE),
    Setting("catchUp.sweep.rate", keys.SWEEP_RATE, Reload.LIVE),
    Setting("listeners.replicas", None, Reload.LIVE),
    Setting("listeners.replicas", keys.REPLICAS, Reload.LIVE, "only with podOverrides"),
    Setting("listeners.podOverrides[].ordinal", keys.PODS, Reload.LIVE),
    Setting(
        "listeners.podOverrides[].allowPermanentPush", keys.pod_key("{ordinal}", "allowPermanentPush"), Reload.LIVE
    ),
    Setting("listeners.image", None, Reload.RESTART, "the operator's own"),
    Setting("listeners.imagePullPolicy", None, Reload.RESTART, "IfNotPresent"),
    Setting("listeners.resources.limits", None, Reload.RESTART, "memory: 1Gi; none where resources is set"),
    Setting("listeners.resources.requests", None, Reload.RESTART, _REQUESTS),
    Setting("listeners.nodeSelector", None, Reload.RESTART),
    Setting("listeners.tolerations", None, Reload.RESTART),
    Setting("listeners.affinity", None, Reload.RESTART),
    Setting("listeners.topologySpreadConstraints", None, Reload.RESTART, "even over nodes and zones"),
    Setting("listeners.priorityClassName", None, Reload.RESTART, "the cluster's"),
    Setting("listeners.labels", None, Reload.RESTART),
    Setting("listeners.annotations", None, Reload.RESTART),
    Setting("listeners.podSecurityContext", None, Reload.RESTART, "restricted"),
    Setting("listeners.securityContext", None, Reload.RESTART, "restricted"),
    Setting("listeners.logLevel", None, Reload.RESTART),
    Setting("deletionPolicy", keys.DELETION_POLICY, Reload.LIVE),
    Setting("properties", None, Reload.LIVE),
    Setting("properties", keys.BY_PROPERTY, Reload.LIVE, "the names of those that stand in this table"),
)

UNREGISTER: Final = Setting("metadata.annotations[mailpush.dev/unregister]", keys.UNREGISTER, Reload.LIVE, "false")
"""Not of the spec: set before an uninstall."""


SECTIONS: Final[Mapping[str, type[Model]]] = MappingProxyType(
    {
        "reschedule": Reschedule,
        "credentialStorage": CredentialStorage,
        "mechanisms.dovecot": DovecotSettings,
        "mechanisms.imapidle": ImapIdleSettings,
        "mechanisms.mailnotify": MailNotifySettings,
        _DOVEADM: Doveadm,
        "notification": Notification,
        "catchUp": CatchUp,
        "catchUp.sweep": Sweep,
    }
)
"""Parts of the spec whose plain settings are rendered and read back by the table alone."""


def plain_settings(section: str) -> tuple[Setting, ...]:
    """The rows of a section's own fields that have a property and are no secrets, in the order of the table."""
    return tuple(
        setting
        for setting in SETTINGS
        if setting.key and not setting.secret and setting.field.rpartition(".")[0] == section
    )


def settings_of(key: str) -> Iterator[Setting]:
    """The lines of a property, none where we do not know it."""
    return (setting for setting in (*SETTINGS, UNREGISTER) if setting.key and _pattern(setting.key).fullmatch(key))


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile("[^.]+".join(re.escape(part) for part in re.split(r"\{[a-z]+\}", key)))


_RESTARTING: Final = tuple(
    _pattern(setting.key) for setting in SETTINGS if setting.key and setting.reload is Reload.RESTART
)


def takes_a_restart(key: str) -> bool:
    """Whether pods must be started anew for a change of this property."""
    return any(pattern.fullmatch(key) for pattern in _RESTARTING)
