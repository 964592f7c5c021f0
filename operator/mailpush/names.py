"""Names that more than one part must agree on: API group, labels, annotations, field managers, ports, children.

Nothing here does anything; a name that only one module uses stands in that module.
"""

from typing import Final

GROUP: Final = "mailpush.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

MAIL_PUSH_CONFIGS: Final = "mailpushconfigs"
PUSH_USERS: Final = "pushusers"
SHARD_MAPS: Final = "shardmaps"

# Labels
CONFIG_LABEL: Final = f"{GROUP}/config"
SLOT_LABEL: Final = f"{GROUP}/slot"
CALLBACK_LABEL: Final = f"{GROUP}/callback"
CALLBACK_OPEN: Final = "open"
USE_LABEL: Final = f"{GROUP}/use"
"""What a Secret may be used for: purposes, joined by dots."""
USER_PASSWORD: Final = "user-password"  # noqa: S105 - a purpose
"""The purpose of a Secret that a PushUser's credentialsSecretRef names."""
PUSH_USERS_ANNOTATION: Final = f"{GROUP}/push-users"
"""The PushUsers that a Secret with a user's password is for, separated by commas or blanks."""
CREDENTIALS_SECRET_TYPE: Final = f"{GROUP}/credentials"
"""Type of a Secret that is for a user's password and nothing else."""
CALLBACK_SECRET_TYPE: Final = f"{GROUP}/callback"
PASSCRYPT_SECRET_TYPE: Final = f"{GROUP}/passcrypt"
"""Type of the Secret that the operator makes for the callback's basic authentication."""
NAME_LABEL: Final = "app.kubernetes.io/name"
INSTANCE_LABEL: Final = "app.kubernetes.io/instance"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "mail-push"

# Annotation of a MailPushConfig: "true" has every user unregistered; so does the value that `mail-push cleanup` sets
# before an uninstall, which the next install takes off again.
UNREGISTER_ANNOTATION: Final = f"{GROUP}/unregister"
UNREGISTER_WANTED: Final = "true"
UNREGISTER_UNINSTALLED: Final = "uninstalled"

# Annotation of the operator's Deployment: the name of the Helm release that is to be removed (`mail-push cleanup`).
UNINSTALL_ANNOTATION: Final = f"{GROUP}/uninstall"

# Annotation of a PushUser: with another value than before the owning pod looks at the mail server and registers anew.
RESYNC_ANNOTATION: Final = f"{GROUP}/resync"

# Annotations of children
ACCOUNT_ANNOTATION: Final = f"{GROUP}/service-account-uid"
CONFIG_HASH_ANNOTATION: Final = f"{GROUP}/config-hash"
SECRETS_HASH_ANNOTATION: Final = f"{GROUP}/secrets-hash"
KEY_STEP_ANNOTATION: Final = f"{GROUP}/key-step-at"
"""When the rotation of the hand-over's key made its last step."""

FINALIZER: Final = f"{GROUP}/registration"

# Server-side apply: who owns which part of a status
OPERATOR_MANAGER: Final = "mail-push-operator"
LISTENER_MANAGER: Final = "mail-push-listener"

# Ports of a listener pod. 8009 is where OX's middleware takes Dovecot's callback.
CALLBACK_PORT: Final = 8009
INTERNAL_PORT: Final = 8010
HEALTH_PORT: Final = 8080
ADMIN_PORT: Final = 1099  # of OX's RMI registry, which `pushusers` asks

CALLBACK_PATH: Final = "/preliminary/http-notify/v1/notify"
INTERNAL_EVENTS_PATH: Final = "/internal/v1/events"

# The Lease of each namespace that an operator works in, whatever its release: one operator leads there.
OPERATOR_LEASE: Final = "mail-push-operator"

# Where a listener pod finds its property files, as an OX node does, and the keys of the hand-over between pods.
PROPERTIES_DIRECTORY: Final = "/opt/open-xchange/etc"
INTERNAL_KEY_DIRECTORY: Final = "/etc/mail-push/internal"
INTERNAL_KEY_FILE: Final = "handover.key"
NEXT_KEY_FILE: Final = "handover-next.key"
PREVIOUS_KEY_FILE: Final = "handover-previous.key"
HASH_KEY_FILE: Final = "hash.key"
"""The key of the hash of a configuration's secrets."""
JOURNAL_DIRECTORY: Final = "/var/lib/mail-push"
BOOT_PROPERTIES: Final = "mail-push-boot.properties"
SECRET_PROPERTIES: Final = "mail-push-secrets.properties"  # noqa: S105 - a file's name

# The longest name of a MailPushConfig: its StatefulSet's pods carry a label of at most 63 characters.
MAX_CONFIG_NAME: Final = 40


def statefulset_name(config: str) -> str:
    return f"mail-push-{config}"


def headless_service_name(config: str) -> str:
    return f"mail-push-{config}-pods"


def callback_service_name(config: str) -> str:
    return f"mail-push-{config}"


def credentials_service_name(config: str) -> str:
    """Where a login hook puts passwords. Not `-admin`, which the chart's own Service may have."""
    return f"mail-push-{config}-credentials"


def properties_configmap_name(config: str) -> str:
    return f"mail-push-{config}-properties"


def boot_configmap_name(config: str, content_hash: str) -> str:
    return f"mail-push-{config}-boot-{content_hash}"


def secrets_name(config: str) -> str:
    """The Secret with `mail-push-secrets.properties`."""
    return f"mail-push-{config}-secrets"


def internal_secret_name(config: str) -> str:
    """The Secret with the keys of the hand-over between pods, and of the configurations' hash."""
    return f"mail-push-{config}-internal"


def callback_secret_name(config: str) -> str:
    """The Secret with the callback's `login` and `password`, made by the operator where the user names none."""
    return f"mail-push-{config}-callback"


def passcrypt_secret_name(config: str) -> str:
    """The Secret with the key `passcrypt`, made by the operator where it is asked to."""
    return f"mail-push-{config}-passcrypt"


def service_account_name(config: str) -> str:
    return f"mail-push-{config}-listener"


def push_user_name(config: str, context_id: int, user_id: int) -> str:
    return f"{config}-{context_id}-{user_id}"


def listener_labels(config: str) -> dict[str, str]:
    """Labels of everything that the operator makes for a MailPushConfig."""
    return {
        NAME_LABEL: "mail-push",
        INSTANCE_LABEL: config,
        COMPONENT_LABEL: "listener",
        MANAGED_BY_LABEL: MANAGED_BY,
        CONFIG_LABEL: config,
    }


def listener_selector(config: str) -> dict[str, str]:
    """The immutable part of them: what a StatefulSet and Services select by."""
    return {NAME_LABEL: "mail-push", COMPONENT_LABEL: "listener", CONFIG_LABEL: config}
