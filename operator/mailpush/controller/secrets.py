"""Secrets: which may be used, what a MailPushConfig's references resolve to, and the two that are made once.

Values go into `ResolvedSecrets` and nowhere else: no log, no exception's text, no status.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from mailpush import names
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.controller import configuration
from mailpush.controller.owner import Manifest, Owner
from mailpush.credentials.user_secret import is_permitted
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError, NotFoundError
from mailpush.properties import secrets as references
from mailpush.properties.secrets import ResolvedSecrets, secret_references

LEAST_KEY_BYTES: Final = 16


def value_of(secret: Mapping[str, Any], key: str) -> bytes | None:
    """The value of a key, None where it is missing or no base64."""
    data = secret.get("data") or {}
    try:
        return base64.b64decode(data[key], validate=True)
    except (KeyError, binascii.Error, TypeError):
        return None


class SecretReader:
    """Reads Secrets by name, always from the API: a copy of all Secrets in memory would be one more to guard."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def get(self, namespace: str, name: str) -> Manifest | None:
        try:
            return await self._kube.get(resources.SECRET, namespace, name)
        except NotFoundError:
            return None

    async def resolve(self, owner: Owner, spec: MailPushConfigSpec) -> ResolvedSecrets:
        """Everything that the spec refers to, and what is made where it refers to nothing."""
        values: dict[str, str] = {}
        missing: list[str] = []
        unpermitted: list[str] = []
        read: dict[str, Manifest | None] = {}
        for path, reference in secret_references(spec):
            if reference.name not in read:
                read[reference.name] = await self.get(owner.namespace, reference.name)
            secret = read[reference.name]
            if secret is None:
                missing.append(path)
            elif not is_permitted(secret):
                unpermitted.append(path)
            elif (value := _text(value_of(secret, reference.key))) is None:
                missing.append(path)
            else:
                values[path] = value
        if spec.callback.auth_secret_ref is None:
            login, password = await self._callback_credentials(owner)
            values[references.CALLBACK_LOGIN], values[references.CALLBACK_PASSWORD] = login, password
        key = await self._internal_key(owner)
        return ResolvedSecrets(hash_key=key, values=values, missing=tuple(missing), unpermitted=tuple(unpermitted))

    async def _internal_key(self, owner: Owner) -> bytes:
        made = configuration.new_internal_secret(owner)
        secret = await self._once(owner, made, (names.INTERNAL_KEY_FILE,), LEAST_KEY_BYTES)
        return value_of(secret, names.INTERNAL_KEY_FILE) or b""

    async def _callback_credentials(self, owner: Owner) -> tuple[str, str]:
        made = configuration.new_callback_secret(owner)
        secret = await self._once(owner, made, (configuration.LOGIN_KEY, configuration.PASSWORD_KEY), 1)
        login = _text(value_of(secret, configuration.LOGIN_KEY)) or ""
        return login, _text(value_of(secret, configuration.PASSWORD_KEY)) or ""

    async def _once(self, owner: Owner, made: Manifest, keys: tuple[str, ...], least: int) -> Manifest:
        """The Secret as it is; made where it is missing, and mended where a key is. What is there is kept."""
        name = made["metadata"]["name"]
        secret = await self.get(owner.namespace, name)
        if secret is None:
            try:
                return await self._kube.create(resources.SECRET, owner.namespace, made)
            except ConflictError:  # another was faster
                secret = await self._kube.get(resources.SECRET, owner.namespace, name)
        broken = [key for key in keys if len(value_of(secret, key) or b"") < least]
        metadata = _missing_metadata(secret, made)
        if not broken and not metadata:
            return secret
        patch: Manifest = {}
        if broken:
            patch["data"] = {key: made["data"][key] for key in broken}
        if metadata:
            patch["metadata"] = metadata
        return await self._kube.merge_patch(resources.SECRET, owner.namespace, name, patch)


def _missing_metadata(secret: Mapping[str, Any], made: Mapping[str, Any]) -> Manifest:
    """Labels and owner that somebody took off."""
    wanted = made["metadata"]
    present = secret["metadata"]
    patch: Manifest = {}
    labels = present.get("labels") or {}
    if any(labels.get(key) != value for key, value in wanted["labels"].items()):
        patch["labels"] = wanted["labels"]
    if not any(owner["uid"] == wanted["ownerReferences"][0]["uid"] for owner in present.get("ownerReferences") or ()):
        patch["ownerReferences"] = wanted["ownerReferences"]
    return patch


def _text(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
