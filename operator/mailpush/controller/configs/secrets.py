"""Secrets: which may be used, what a MailPushConfig's references resolve to, and those that are made once.

Values go into `ResolvedSecrets` and nowhere else: no log, no exception's text, no status.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import structlog

from mailpush import names
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.controller.configs import property_files
from mailpush.controller.configs.handover_keys import LEAST_KEY_BYTES, next_step
from mailpush.controller.owner import ConfigKey, Manifest, Owner, is_config
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError
from mailpush.kube.secrets import is_permitted, text_of, value_of
from mailpush.properties import secrets as references
from mailpush.properties.secrets import ResolvedSecrets, purpose_of, secret_references

log = structlog.get_logger(__name__)


class ForeignSecretError(ValueError):
    """Another's Secret has the name of one that the operator makes."""


class InternalKeys(NamedTuple):
    """The key of the configurations' hash, and the seconds until the rotation of the other keys goes on."""

    hash_key: bytes
    seconds: float


class ConfigSecrets:
    """The Secrets of a MailPushConfig: those that it refers to, and those that the operator makes.

    They are always read from the API: a copy of all Secrets in memory is one more to guard.
    """

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def resolve(
        self, owner: Owner, spec: MailPushConfigSpec, hash_key: bytes, *, passcrypt_made: bool = False
    ) -> ResolvedSecrets:
        """Everything that the spec refers to, and what is made where it refers to nothing.

        Args:
            passcrypt_made: a passcrypt was made once, so that another one would read nothing of what is stored.

        Raises:
            ForeignSecretError: a Secret cannot be made.
        """
        values: dict[str, str] = {}
        missing: list[str] = []
        unpermitted: list[str] = []
        read: dict[str, Manifest | None] = {}
        for path, reference in secret_references(spec):
            if reference.name not in read:
                read[reference.name] = await self._kube.find(resources.SECRET, owner.namespace, reference.name)
            secret = read[reference.name]
            if secret is None:
                missing.append(path)
            elif not is_permitted(secret, purpose_of(path)):
                unpermitted.append(path)
            elif not (value := text_of(secret, reference.key) or "").strip():
                # An empty value would switch off what the field asks for: a signature, a check of certificates.
                missing.append(path)
            else:
                values[path] = value
        if spec.callback.auth_secret_ref is None:
            login, password = await self._callback_credentials(owner)
            values[references.CALLBACK_LOGIN], values[references.CALLBACK_PASSWORD] = login, password
        if spec.credential_storage.generate_passcrypt and spec.credential_storage.passcrypt_secret_ref is None:
            if passcrypt := await self._passcrypt(owner, passcrypt_made):
                values[references.PASSCRYPT] = passcrypt
            else:
                missing.append(references.PASSCRYPT)
        return ResolvedSecrets(hash_key=hash_key, values=values, missing=tuple(missing), unpermitted=tuple(unpermitted))

    async def internal_keys(self, owner: Owner) -> InternalKeys:
        """The keys that pods and operator share; makes the step of the rotation that is due.

        Raises:
            ForeignSecretError: their Secret cannot be made.
        """
        made = property_files.new_internal_secret(owner)
        secret = await self._once(owner, made, (names.INTERNAL_KEY_FILE,), LEAST_KEY_BYTES)
        step = next_step(secret, datetime.now(UTC), property_files.new_key)
        if step.patch:
            # By resourceVersion: of two operators, one of which does not know yet that it leads no more, one steps.
            step.patch["metadata"]["resourceVersion"] = secret["metadata"]["resourceVersion"]
            name = made["metadata"]["name"]
            secret = await self._kube.merge_patch(resources.SECRET, owner.namespace, name, step.patch)
            log.info("handover_key_step", config=str(owner.key), step=step.what)
        return InternalKeys(value_of(secret, names.HASH_KEY_FILE) or b"", step.seconds)

    async def _callback_credentials(self, owner: Owner) -> tuple[str, str]:
        made = property_files.new_callback_secret(owner)
        secret = await self._once(owner, made, (property_files.LOGIN_KEY, property_files.PASSWORD_KEY), 1)
        login = text_of(secret, property_files.LOGIN_KEY) or ""
        return login, text_of(secret, property_files.PASSWORD_KEY) or ""

    async def _passcrypt(self, owner: Owner, made_before: bool) -> str | None:
        """None where somebody has emptied or deleted the Secret: another passcrypt would read nothing of what is
        stored."""
        made = property_files.new_passcrypt_secret(owner)
        if made_before and await self._kube.find(resources.SECRET, owner.namespace, made["metadata"]["name"]) is None:
            log.warning("passcrypt_gone", config=str(owner.key), name=made["metadata"]["name"])
            return None
        value = text_of(await self._once(owner, made, (), 0), property_files.PASSCRYPT_KEY) or ""
        return value if value.strip() else None

    async def _once(self, owner: Owner, made: Manifest, keys: tuple[str, ...], least: int) -> Manifest:
        """The Secret as it is; made where it is missing, and mended where a key is. What is there is kept.

        Raises:
            ForeignSecretError: another's Secret has the name.
        """
        name = made["metadata"]["name"]
        secret = await self._kube.find(resources.SECRET, owner.namespace, name)
        if secret is None:
            try:
                secret = await self._kube.create(resources.SECRET, owner.namespace, made)
            except ConflictError:  # another was faster
                secret = await self._kube.get(resources.SECRET, owner.namespace, name)
            else:
                log.info("secret_made", config=str(owner.key), name=name)
        if not _is_ours(secret, owner, made):
            raise ForeignSecretError(
                f"the Secret {name} is not Mail Push's own, which makes one of this name: delete or rename it"
            )
        broken = [key for key in keys if len(value_of(secret, key) or b"") < least]
        metadata = _missing_metadata(secret, made)
        if not broken and not metadata:
            return secret
        # By resourceVersion: the list of owners is written as a whole.
        patch: Manifest = {"metadata": {**metadata, "resourceVersion": secret["metadata"]["resourceVersion"]}}
        if broken:
            patch["data"] = {key: made["data"][key] for key in broken}
        return await self._kube.merge_patch(resources.SECRET, owner.namespace, name, patch)


_OWN_TYPES: Final = frozenset({names.CALLBACK_SECRET_TYPE, names.PASSCRYPT_SECRET_TYPE})


def _is_ours(secret: Mapping[str, Any], owner: Owner, made: Mapping[str, Any]) -> bool:
    """Whether the operator has made the Secret for a MailPushConfig of this name, be it for a former one.

    By an owner, the labels, or a type of our own: each may be all that is left.
    """
    metadata = secret["metadata"]
    if any(is_config(reference) for reference in metadata.get("ownerReferences") or ()):
        return ConfigKey.of_child(secret) == owner.key
    labels = metadata.get("labels") or {}
    if names.CONFIG_LABEL in labels:
        typed = secret.get("type") == made["type"] in _OWN_TYPES
        marked = typed or labels.get(names.MANAGED_BY_LABEL) == names.MANAGED_BY
        return bool(labels[names.CONFIG_LABEL] == owner.name and marked)
    return bool(secret.get("type") == made["type"] in _OWN_TYPES)


def _missing_metadata(secret: Mapping[str, Any], made: Mapping[str, Any]) -> Manifest:
    """Labels and owner that somebody took off, or the owner of a Secret that is to be kept and that has one."""
    wanted = made["metadata"]
    present = secret["metadata"]
    patch: Manifest = {}
    labels = present.get("labels") or {}
    if any(labels.get(key) != value for key, value in wanted["labels"].items()):
        patch["labels"] = wanted["labels"]
    owners = present.get("ownerReferences") or []
    owned = wanted.get("ownerReferences", [])
    if [reference["uid"] for reference in owners if is_config(reference)] != [reference["uid"] for reference in owned]:
        patch["ownerReferences"] = owned + [reference for reference in owners if not is_config(reference)]
    return patch
