"""Which Secrets a MailPushConfig refers to, and what they resolved to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from mailpush.api.credentialstorage import CredentialStorage
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.api.meta import SecretKeyReference
from mailpush.api.oauth import OAuth
from mailpush.properties import keys
from mailpush.properties.admin import ADMIN_PATHS, admin_references

MASTER_PASSWORD: Final = "mailAccess.masterPasswordSecretRef"  # noqa: S105 - the path of a field
DOVEADM_API_SECRET: Final = "mailAccess.doveadm.apiSecretRef"  # noqa: S105 - the path of a field
DOVEADM_CA: Final = "mailAccess.doveadm.caSecretRef"
PASSCRYPT: Final = "credentialStorage.passcryptSecretRef"
REDIS_PASSWORD: Final = "redis.passwordSecretRef"  # noqa: S105 - the path of a field
REDIS_CA: Final = "redis.caSecretRef"
PASSCRYPT_PREVIOUS: Final = "credentialStorage.passcryptPreviousSecretRef"
DATABASE_PASSWORD: Final = "credentialStorage.database.passwordSecretRef"  # noqa: S105 - the path of a field
DATABASE_CA: Final = "credentialStorage.database.caSecretRef"
CONFIGDB_PASSWORD: Final = "credentialStorage.ox.database.passwordSecretRef"  # noqa: S105 - the path of a field
CONFIGDB_CA: Final = "credentialStorage.ox.database.caSecretRef"
TOKEN: Final = "mailAccess.oauth.tokenSecretRef"  # noqa: S105 - the path of a field
CLIENT_SECRET: Final = "mailAccess.oauth.tokenEndpoint.clientSecretRef"  # noqa: S105 - the path of a field
ENDPOINT_CA: Final = "mailAccess.oauth.tokenEndpoint.caSecretRef"
CALLBACK_LOGIN: Final = "callback.authSecretRef.login"
CALLBACK_PASSWORD: Final = "callback.authSecretRef.password"  # noqa: S105 - the path of a field


PURPOSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        PASSCRYPT: "passcrypt",
        PASSCRYPT_PREVIOUS: "passcrypt",
        DATABASE_PASSWORD: "database",
        CONFIGDB_PASSWORD: "database",
        **dict.fromkeys((DATABASE_CA, CONFIGDB_CA, REDIS_CA, ENDPOINT_CA, DOVEADM_CA), "ca"),
        TOKEN: "oauth",
        CLIENT_SECRET: "oauth",
        MASTER_PASSWORD: "master-password",
        DOVEADM_API_SECRET: "doveadm",
        CALLBACK_LOGIN: "callback",
        CALLBACK_PASSWORD: "callback",
        REDIS_PASSWORD: "redis",
        **dict.fromkeys(ADMIN_PATHS.values(), "admin"),
    }
)
"""What the Secret behind a field is for: its label `mailpush.dev/use` must say so."""


STORE_PATHS: Final[Mapping[str, str]] = MappingProxyType(
    {
        keys.PASSCRYPT_PREVIOUS: PASSCRYPT_PREVIOUS,
        keys.database_key(keys.DATABASE, "password"): DATABASE_PASSWORD,
        keys.database_key(keys.DATABASE, "ca"): DATABASE_CA,
        keys.database_key(keys.CONFIGDB, "password"): CONFIGDB_PASSWORD,
        keys.database_key(keys.CONFIGDB, "ca"): CONFIGDB_CA,
        keys.OAUTH_TOKEN: TOKEN,
        keys.endpoint_key("clientSecret"): CLIENT_SECRET,
        keys.endpoint_key("ca"): ENDPOINT_CA,
        keys.REDIS_PASSWORD: REDIS_PASSWORD,
        keys.REDIS_CA: REDIS_CA,
    }
)
"""By property, the field that refers to its value."""


def purpose_of(path: str) -> str:
    """The purpose of the Secret that the field at `path` names."""
    if path.startswith("mailAccess.servers["):
        return "ca"
    return PURPOSES.get(path, "webhook")


def server_ca(server: str) -> str:
    """Path of the field that refers to an IMAP server's CA certificates."""
    return f"mailAccess.servers[{server}].caSecretRef"


def webhook_secret(webhook: str) -> str:
    """Path of the field that refers to a webhook's signature key."""
    return f"transports.webhooks[{webhook}].secretRef"


def secret_references(spec: MailPushConfigSpec) -> list[tuple[str, SecretKeyReference]]:
    """Every key of a Secret that the MailPushConfig refers to, with the path of the field that does.

    The callback's Secret stands here only where `callback.authSecretRef` names one; where it does not, the operator
    makes one and adds its `login` and `password` under `CALLBACK_LOGIN` and `CALLBACK_PASSWORD`.
    """
    access = spec.mail_access
    callback = spec.callback.auth_secret_ref
    references: list[tuple[str, SecretKeyReference | None]] = [
        *_storage(spec.credential_storage),
        *(_oauth(access.oauth) if access else ()),
        (MASTER_PASSWORD, access.master_password_secret_ref if access else None),
        (DOVEADM_API_SECRET, access.doveadm.api_secret_ref if access else None),
        (DOVEADM_CA, access.doveadm.ca_secret_ref if access else None),
        *((server_ca(server.name), server.ca_secret_ref) for server in (access.servers if access else ())),
        (CALLBACK_LOGIN, SecretKeyReference(name=callback.name, key="login") if callback else None),
        (CALLBACK_PASSWORD, SecretKeyReference(name=callback.name, key="password") if callback else None),
        *admin_references(spec.admin),
        (REDIS_PASSWORD, spec.redis.password_secret_ref if spec.redis else None),
        (REDIS_CA, spec.redis.ca_secret_ref if spec.redis else None),
        *((webhook_secret(webhook.name), webhook.secret_ref) for webhook in spec.transports.webhooks),
    ]
    return [(path, reference) for path, reference in references if reference is not None]


def _storage(storage: CredentialStorage) -> Iterator[tuple[str, SecretKeyReference | None]]:
    yield PASSCRYPT, storage.passcrypt_secret_ref
    yield PASSCRYPT_PREVIOUS, storage.passcrypt_previous_secret_ref
    if (database := storage.database) is not None:
        yield DATABASE_PASSWORD, database.password_secret_ref
        yield DATABASE_CA, database.ca_secret_ref
    if storage.ox.credentials != "none" and (configdb := storage.ox.database) is not None:
        yield CONFIGDB_PASSWORD, configdb.password_secret_ref
        yield CONFIGDB_CA, configdb.ca_secret_ref


def _oauth(oauth: OAuth) -> Iterator[tuple[str, SecretKeyReference | None]]:
    if oauth.enabled:
        yield TOKEN, oauth.token_secret_ref
        if (endpoint := oauth.token_endpoint) is not None:
            yield CLIENT_SECRET, endpoint.client_secret_ref
            yield ENDPOINT_CA, endpoint.ca_secret_ref


@dataclass(frozen=True, slots=True, repr=False)
class ResolvedSecrets:
    """Values of the Secrets' keys, by the path of the field that refers to them."""

    hash_key: bytes
    """Key of the hash that says whether a secret has changed, so that the hash lets nobody try out passwords."""
    values: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    missing: tuple[str, ...] = ()
    """Paths whose Secret or key does not exist."""
    unpermitted: tuple[str, ...] = ()
    """Paths whose Secret is not marked for this use."""

    def get(self, path: str) -> str | None:
        """The value, without line ends behind it: a Secret made from a file ends with one."""
        value = self.values.get(path)
        return None if value is None else value.rstrip("\r\n")
