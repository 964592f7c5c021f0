"""Names of properties, and the file that each stands in.

Names and files of `com.openexchange.*` are OX's; `mailpush.*` are ours, for what OX has no property for.
"""

from types import MappingProxyType
from typing import Final

from mailpush.names import BOOT_PROPERTIES, SECRET_PROPERTIES

MAIL_PUSH_FILE: Final = "mail-push.properties"
MAIL_FILE: Final = "mail.properties"
DOVECOT_FILE: Final = "dovecot-push.properties"
IMAPIDLE_FILE: Final = "push_imapidle.properties"
MAILNOTIFY_FILE: Final = "push_mailnotify.properties"
DOVEADM_FILE: Final = "doveadm.properties"
LISTENER_FILE: Final = "mail-push-listener.properties"
EXTRA_FILE: Final = "extra.properties"
SECRETS_FILE: Final = SECRET_PROPERTIES
BOOT_FILE: Final = BOOT_PROPERTIES

BY_PROPERTY: Final = "mailpush.byProperty"
"""Which of the properties that we know stand in the MailPushConfig's `properties`: advice names the place."""

# mail-push.properties
ALLOW_PERMANENT_PUSH: Final = "com.openexchange.push.allowPermanentPush"
ALLOWED_CLIENTS: Final = "com.openexchange.push.allowedClients"
ALLOWED_CLIENT: Final = "com.openexchange.push.allowedClient"
"""What OX's article calls it; OX's code reads only the plural. We take both."""
CREDSTORAGE_ENABLED: Final = "com.openexchange.push.credstorage.enabled"
CREDSTORAGE_RDB: Final = "com.openexchange.push.credstorage.rdb"
CREDSTORAGE_PASSCRYPT: Final = "com.openexchange.push.credstorage.passcrypt"
RESCHEDULE_ON_REGISTRATION: Final = "com.openexchange.push.rescheduleOnRegistration"
RESCHEDULE_DELAY: Final = "com.openexchange.push.reschedule.delayDuration"
RESCHEDULE_FREQUENCY: Final = "com.openexchange.push.reschedule.timerFrequency"

# mail.properties
PASSWORD_SOURCE: Final = "com.openexchange.mail.passwordSource"  # noqa: S105 - a property's name
LOGIN_SOURCE: Final = "com.openexchange.mail.loginSource"
SANE_LOGIN: Final = "com.openexchange.mail.saneLogin"
MASTER_PASSWORD: Final = "com.openexchange.mail.masterPassword"  # noqa: S105 - a property's name
AUTH_PROXY_DELIMITER: Final = "com.openexchange.mail.authProxyDelimiter"
MAIL_SERVER_SOURCE: Final = "com.openexchange.mail.mailServerSource"
MAIL_SERVER: Final = "com.openexchange.mail.mailServer"
MAIL_STARTTLS: Final = "com.openexchange.mail.mailStartTls"

# dovecot-push.properties
DOVECOT_ENABLED: Final = "com.openexchange.push.dovecot.enabled"
DOVECOT_STATELESS: Final = "com.openexchange.push.dovecot.stateless"
DOVECOT_CLUSTER_LOCK: Final = "com.openexchange.push.dovecot.clusterLock"
DOVECOT_PREFER_DOVEADM: Final = "com.openexchange.push.dovecot.preferDoveadmForMetadata"

# doveadm.properties
DOVEADM_ENABLED: Final = "com.openexchange.dovecot.doveadm.enabled"
DOVEADM_ENDPOINTS: Final = "com.openexchange.dovecot.doveadm.endpoints"
DOVEADM_TOTAL_CONNECTIONS: Final = "com.openexchange.dovecot.doveadm.endpoints.totalConnections"
DOVEADM_CONNECTIONS_PER_ROUTE: Final = "com.openexchange.dovecot.doveadm.endpoints.maxConnectionsPerRoute"
DOVEADM_READ_TIMEOUT: Final = "com.openexchange.dovecot.doveadm.endpoints.readTimeout"
DOVEADM_CONNECT_TIMEOUT: Final = "com.openexchange.dovecot.doveadm.endpoints.connectTimeout"
DOVEADM_CHECK_INTERVAL: Final = "com.openexchange.dovecot.doveadm.endpoints.checkInterval"
DOVEADM_API_SECRET: Final = "com.openexchange.dovecot.doveadm.apiSecret"  # noqa: S105 - a property's name

# push_imapidle.properties
IMAPIDLE_ENABLED: Final = "com.openexchange.push.imapidle.enabled"
IMAPIDLE_PERMANENT: Final = "com.openexchange.push.imapidle.supportsPermanentListeners"
IMAPIDLE_ACCOUNT: Final = "com.openexchange.push.imapidle.accountId"
IMAPIDLE_FOLDER: Final = "com.openexchange.push.imapidle.folder"
IMAPIDLE_DELAY: Final = "com.openexchange.push.imapidle.delay"
IMAPIDLE_PUSH_MODE: Final = "com.openexchange.push.imapidle.pushMode"
IMAPIDLE_CLUSTER_LOCK: Final = "com.openexchange.push.imapidle.clusterLock"
IMAPIDLE_VALIDATE_SESSION: Final = "com.openexchange.push.imapidle.clusterLock.validateSessionExistence"
IMAPIDLE_CHECK_PERIODIC: Final = "com.openexchange.push.imapidle.checkPeriodic"

# push_mailnotify.properties
MAILNOTIFY_ENABLED: Final = "com.openexchange.push.mail.notify.enabled"
MAILNOTIFY_MULTICAST: Final = "com.openexchange.push.mail.notify.udp_listen_multicast"
MAILNOTIFY_HOST: Final = "com.openexchange.push.mail.notify.udp_listen_host"
MAILNOTIFY_PORT: Final = "com.openexchange.push.mail.notify.udp_listen_port"
MAILNOTIFY_DELIMITER: Final = "com.openexchange.push.mail.notify.imap_login_delimiter"
MAILNOTIFY_OX_LOGIN: Final = "com.openexchange.push.mail.notify.use_ox_login"
MAILNOTIFY_FULL_ADDRESS: Final = "com.openexchange.push.mail.notify.use_full_email_address"
MAILNOTIFY_DELAY: Final = "com.openexchange.push.mail.notify.delay_millis"

# Basic authentication of Dovecot's callback (server.properties in OX, a secret here)
CALLBACK_LOGIN: Final = "com.openexchange.rest.services.basic-auth.login"
CALLBACK_PASSWORD: Final = "com.openexchange.rest.services.basic-auth.password"  # noqa: S105 - a property's name

# Ours
PACKAGES: Final = "mailpush.packages"
REPLICAS: Final = "mailpush.listeners.replicas"
PODS: Final = "mailpush.pods"
"""Ordinals of the pods that have settings of their own."""
MECHANISMS_ORDER: Final = "mailpush.mechanisms.order"
DOVECOT_USER_FORM: Final = "mailpush.dovecot.userForm"
OUR_LOGIN_SOURCE: Final = "mailpush.mail.loginSource"
"""A loginSource that OX has no word for."""
MASTER_USER: Final = "mailpush.mail.masterUser"
USER_SECRETS: Final = "mailpush.mail.userSecrets"
SERVERS: Final = "mailpush.mail.servers"
REDIS_URL: Final = "mailpush.redis.url"
REDIS_PASSWORD: Final = "mailpush.redis.password"  # noqa: S105 - a property's name
REDIS_USERNAME: Final = "mailpush.redis.username"
REDIS_CA: Final = "mailpush.redis.ca"
DATABASE: Final = "database"
"""The credential storage's database, for `database_key`."""
CONFIGDB: Final = "ox.database"
"""OX's configdb, for `database_key`."""
OX_CREDENTIALS: Final = "mailpush.credstorage.ox.credentials"
OX_FORM: Final = "mailpush.credstorage.ox.form"
PASSCRYPT_PREVIOUS: Final = "mailpush.credstorage.passcryptPrevious"
OAUTH: Final = "mailpush.mail.oauth.enabled"
OAUTH_MECHANISM: Final = "mailpush.mail.oauth.mechanism"
OAUTH_TOKEN: Final = "mailpush.mail.oauth.token"  # noqa: S105 - a property's name
DOVEADM_AUTHENTICATION: Final = "mailpush.doveadm.authentication"
DOVEADM_CA: Final = "mailpush.doveadm.ca"
WEBHOOKS: Final = "mailpush.webhooks"
NOTIFICATION_CONTENT: Final = "mailpush.notification.content"
CATCH_UP_MAX_AGE: Final = "mailpush.catchUp.maxAge"
SWEEP_ENABLED: Final = "mailpush.catchUp.sweep.enabled"
SWEEP_RATE: Final = "mailpush.catchUp.sweep.rate"
DELETION_POLICY: Final = "mailpush.deletionPolicy"
UNREGISTER: Final = "mailpush.unregister"
"""True before an uninstall: every user is unregistered at the mail server and nothing is started any more."""

_OWNERS: Final = MappingProxyType(
    {
        "com.openexchange.push.dovecot.": DOVECOT_FILE,
        "com.openexchange.push.imapidle.": IMAPIDLE_FILE,
        "com.openexchange.push.mail.notify.": MAILNOTIFY_FILE,
        "com.openexchange.push.": MAIL_PUSH_FILE,
        "com.openexchange.mail.": MAIL_FILE,
        "com.openexchange.dovecot.doveadm.": DOVEADM_FILE,
        "mailpush.": LISTENER_FILE,
    }
)


def server_key(server: str, setting: str) -> str:
    """A setting of one IMAP server: host, port, security, serverName, verify, ca."""
    return f"mailpush.mail.server.{server}.{setting}"


def pod_key(ordinal: int | str, setting: str) -> str:
    """A setting of one listener pod: allowPermanentPush."""
    return f"mailpush.pod.{ordinal}.{setting}"


def webhook_key(webhook: str, setting: str) -> str:
    """A setting of one webhook: url, clients, timeout (milliseconds), secret."""
    return f"mailpush.webhook.{webhook}.{setting}"


def database_key(database: str, setting: str) -> str:
    """A setting of a database: url, username, password, tls, ca, poolSize, timeout (milliseconds)."""
    return f"mailpush.credstorage.{database}.{setting}"


def endpoint_key(setting: str) -> str:
    """A setting of the token endpoint: url, clientId, clientSecret, clientAuthentication, scope, audience, ca."""
    return f"mailpush.mail.oauth.tokenEndpoint.{setting}"


def file_of(key: str) -> str:
    """The file that owns a property; `extra.properties` for those that we do not know."""
    return next((file for prefix, file in _OWNERS.items() if key.startswith(prefix)), EXTRA_FILE)
