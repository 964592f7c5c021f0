"""The credential storage and where it keeps passwords: part of a MailPushConfig."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mailpush.api.meta import BLANKS, Model, SecretKeyReference, rules


class Database(Model):
    """A database server."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.caSecretRef) || self.tls == 'verify'",
                'caSecretRef is set, so tls must be "verify", or nothing is checked by it',
            )
        )
    )

    url: Annotated[
        str,
        Field(pattern=rf"^((mysql|mariadb)://[^@/{BLANKS}]+/[^@/{BLANKS}]+|sqlite:///[^@{BLANKS}]+)$", max_length=512),
    ]
    """mysql://host:3306/name or mariadb://host:3306/name, without a login. sqlite:////path is a file, for one pod."""
    username: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """The login."""
    password_secret_ref: SecretKeyReference | None = None
    """Its password."""
    tls: Literal["none", "verify"] = "none"
    """verify: TLS, and the server's certificate must be good for its name. none: without TLS."""
    ca_secret_ref: SecretKeyReference | None = None
    """PEM certificates that the server's must be signed by. Default: the image's own."""
    pool_size: Annotated[int, Field(ge=1, le=32)] = 4
    """The most connections that one pod holds."""
    timeout_milliseconds: Annotated[int, Field(ge=100, le=60000)] = 2000
    """How long an answer may take."""


class OxCredentials(Model):
    """The table of an OX App Suite that keeps its own credentials: shared with it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.credentials == 'none' || has(self.database)",
                "credentialStorage.ox.credentials is set, so credentialStorage.ox.database (the configdb) is needed",
            ),
            (
                "self.credentials != 'readWrite' || has(self.form)",
                'credentialStorage.ox.credentials is "readWrite", so credentialStorage.ox.form is needed',
            ),
        )
    )

    credentials: Literal["none", "read", "readWrite"] = "none"
    """read: passwords are taken from OX's own table credentials, and nothing is written there. readWrite: those that
    are put are written there as well; no row is deleted."""
    form: Literal["legacy", "argon"] | None = None
    """With readWrite, in which form: legacy for an OX before 8.16, argon for later ones. A schema whose table does not
    fit the form is not written to, and the condition CredentialWritesRefused says why."""
    database: Database | None = None
    """OX's configdb, which says where each context's schema is."""


class CredentialStorage(Model):
    """OX's credential storage: passwords of push users, encrypted. com.openexchange.push.credstorage.*"""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.enabled || has(self.passcryptSecretRef) || self.generatePasscrypt",
                "credentialStorage.enabled is true, so credentialStorage.passcryptSecretRef is needed",
            ),
            (
                "!has(self.passcryptSecretRef) || !self.generatePasscrypt",
                "credentialStorage.generatePasscrypt is true, so credentialStorage.passcryptSecretRef must not be set",
            ),
        )
    )

    enabled: bool = False
    """com.openexchange.push.credstorage.enabled. True: passwords are kept for push users (docs/credentials.md)."""
    passcrypt_secret_ref: SecretKeyReference | None = None
    """com.openexchange.push.credstorage.passcrypt. The passphrase. Needed where enabled is true."""
    generate_passcrypt: bool = False
    """True in place of passcryptSecretRef: the operator makes a passphrase once, in the Secret
    mail-push-<name>-passcrypt, and keeps it. Whoever loses it has to put all passwords again."""
    passcrypt_previous_secret_ref: SecretKeyReference | None = None
    """The passphrase of before, while stored passwords are being encrypted anew."""
    rdb: bool = False
    """com.openexchange.push.credstorage.rdb. True keeps credentials in the database, false in cluster memory, which is
    Redis where spec.redis is set."""
    database: Database | None = None
    """With rdb: the database. Without one, a single pod keeps a file that lives as long as the pod."""
    ox: OxCredentials = OxCredentials()
    """OX's own table in place of ours."""
