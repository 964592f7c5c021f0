"""ConfigMaps and Secrets of a MailPushConfig: its property files, and what the operator makes once."""

import base64
import secrets
from collections.abc import Mapping
from typing import Final

from mailpush import names
from mailpush.api.conditions import timestamp
from mailpush.controller.owner import Manifest, Owner
from mailpush.properties.secrets import PASSCRYPT, purpose_of
from mailpush.sharding.leases import PASSCRYPT as PASSCRYPT_FINGERPRINT

KEY_BYTES: Final = 32
CALLBACK_LOGIN: Final = "mail-push"
LOGIN_KEY: Final = "login"
PASSWORD_KEY: Final = "password"  # noqa: S105 - a key's name
PASSCRYPT_KEY: Final = "passcrypt"


def properties_config_map(
    owner: Owner, files: Mapping[str, str], config_hash: str, secrets_hash: str, *, passcrypt: str = ""
) -> Manifest:
    """What `kubectl get configmap` shows is what runs. By the hashes a listener knows a whole change from a part.

    `passcrypt`: the fingerprint of the one that pods are to have; empty where they are to have none.
    """
    annotations = {names.CONFIG_HASH_ANNOTATION: config_hash, names.SECRETS_HASH_ANNOTATION: secrets_hash}
    if passcrypt:
        annotations[PASSCRYPT_FINGERPRINT] = passcrypt
    return {
        "metadata": owner.metadata(names.properties_configmap_name(owner.name), annotations=annotations),
        "data": dict(files),
    }


def boot_config_map(owner: Owner, files: Mapping[str, str], boot_hash: str) -> Manifest:
    """Settings that need a restart. A change makes another one, and the StatefulSet rolls to it."""
    return {
        "metadata": owner.metadata(names.boot_configmap_name(owner.name, boot_hash)),
        "immutable": True,
        "data": dict(files),
    }


def properties_secret(owner: Owner, files: Mapping[str, str], secrets_hash: str) -> Manifest:
    """Property files that hold secrets."""
    annotations = {names.SECRETS_HASH_ANNOTATION: secrets_hash}
    return {
        "metadata": owner.metadata(names.secrets_name(owner.name), annotations=annotations),
        "type": "Opaque",
        "data": {name: encoded(text.encode()) for name, text in files.items()},
    }


def new_internal_secret(owner: Owner) -> Manifest:
    """The first key of the hand-over between pods, and that of the configurations' hash: random, made once."""
    annotations = {names.KEY_STEP_ANNOTATION: timestamp()}
    return {
        "metadata": owner.metadata(names.internal_secret_name(owner.name), annotations=annotations),
        "type": "Opaque",
        "data": {key: encoded(new_key()) for key in (names.INTERNAL_KEY_FILE, names.HASH_KEY_FILE)},
    }


def new_callback_secret(owner: Owner) -> Manifest:
    """Basic authentication of Dovecot's callback, where the user names no Secret: random, made once.

    It outlives the MailPushConfig: Dovecot's configuration holds the password, and one that comes again needs it.
    """
    return {
        "metadata": owner.metadata(names.callback_secret_name(owner.name), kept=True),
        "type": names.CALLBACK_SECRET_TYPE,
        # token_hex: the password stands in a URL of Dovecot's configuration, so nothing in it needs escaping.
        "data": {LOGIN_KEY: encoded(CALLBACK_LOGIN.encode()), PASSWORD_KEY: encoded(secrets.token_hex(24).encode())},
    }


def new_passcrypt_secret(owner: Owner) -> Manifest:
    """The passphrase of the credential storage, where the user asks for one: random, made once.

    It outlives the MailPushConfig, as the stored passwords do: nobody could read them without it.
    """
    metadata = owner.metadata(names.passcrypt_secret_name(owner.name), kept=True)
    # So a reference may name it as well: as the previous one, once the administrator has another.
    metadata["labels"] = {**metadata["labels"], names.USE_LABEL: purpose_of(PASSCRYPT)}
    return {
        "metadata": metadata,
        "type": names.PASSCRYPT_SECRET_TYPE,
        # ASCII: OX reads no other character in one way only.
        "data": {PASSCRYPT_KEY: encoded(secrets.token_urlsafe(KEY_BYTES).encode())},
    }


def new_key() -> bytes:
    """A key of the hand-over or of the configurations' hash."""
    return secrets.token_bytes(KEY_BYTES)


def encoded(value: bytes) -> str:
    """As a Secret's data holds it."""
    return base64.b64encode(value).decode("ascii")
