"""Secrets: which may be used, what a MailPushConfig's references resolve to, and the two that are made once.

Values go into `ResolvedSecrets` and nowhere else: no log, no exception's text, no status.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import structlog

from mailpush import names
from mailpush.api.mailpushconfig import MailPushConfigSpec
from mailpush.controller.configs import property_files
from mailpush.controller.configs.handover_keys import LEAST_KEY_BYTES, next_step
from mailpush.controller.owner import Manifest, Owner
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ConflictError
from mailpush.kube.secrets import is_permitted, text_of, value_of
from mailpush.properties import secrets as references
from mailpush.properties.secrets import ResolvedSecrets, purpose_of, secret_references

log = structlog.get_logger(__name__)


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

    async def resolve(self, owner: Owner, spec: MailPushConfigSpec, hash_key: bytes) -> ResolvedSecrets:
        """Everything that the spec refers to, and what is made where it refers to nothing."""
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
        return ResolvedSecrets(hash_key=hash_key, values=values, missing=tuple(missing), unpermitted=tuple(unpermitted))

    async def internal_keys(self, owner: Owner) -> InternalKeys:
        """The keys that pods and operator share; makes the step of the rotation that is due."""
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

    async def _once(self, owner: Owner, made: Manifest, keys: tuple[str, ...], least: int) -> Manifest:
        """The Secret as it is; made where it is missing, and mended where a key is. What is there is kept."""
        name = made["metadata"]["name"]
        secret = await self._kube.find(resources.SECRET, owner.namespace, name)
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
