"""The Secrets that the operator makes: what is taken over, what is kept, and what is another's."""

import base64
import copy
from typing import Any

import pytest

from mailpush import names
from mailpush.controller.configs.property_files import (
    new_callback_secret,
    new_internal_secret,
    new_passcrypt_secret,
)
from mailpush.controller.configs.secrets import ConfigSecrets, ForeignSecretError
from mailpush.controller.owner import Manifest, Owner
from mailpush.kube.errors import ConflictError, NotFoundError
from mailpush.kube.resources import Resource
from mailpush.kube.secrets import is_permitted
from mailpush.properties import secrets as references
from mailpush.properties.secrets import ResolvedSecrets
from tests.sites.fakekube import Finds
from tests.unit.controller.builders import OWNER, spec

FORMER = Owner(OWNER.namespace, OWNER.name, "uid-of-a-former-main")
OTHER_OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "theirs", "uid": "uid-of-theirs"}


class Secrets(Finds):
    """An API server with Secrets, which knows merge patches and resourceVersions."""

    def __init__(self, *secrets: Manifest) -> None:
        self.found: dict[str, Manifest] = {}
        self.writes = 0
        for secret in secrets:
            self._store(copy.deepcopy(secret))

    def _store(self, secret: Manifest) -> Manifest:
        self.writes += 1
        secret["metadata"]["resourceVersion"] = str(self.writes)
        self.found[secret["metadata"]["name"]] = secret
        return copy.deepcopy(secret)

    async def get(self, _resource: Resource, _namespace: str, name: str, **_: Any) -> Manifest:
        if name not in self.found:
            raise NotFoundError(404, "NotFound", name)
        return copy.deepcopy(self.found[name])

    async def create(self, _resource: Resource, _namespace: str, body: Manifest) -> Manifest:
        if body["metadata"]["name"] in self.found:
            raise ConflictError(409, "AlreadyExists", "it is there")
        return self._store(copy.deepcopy(body))

    async def merge_patch(self, _resource: Resource, _namespace: str, name: str, body: Manifest) -> Manifest:
        secret = self.found[name]
        if body["metadata"].get("resourceVersion", "?") != secret["metadata"]["resourceVersion"]:
            raise ConflictError(409, "Conflict", "another wrote first")
        return self._store(_merged(secret, body))


def _merged(before: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict) or not isinstance(before, dict):
        return patch
    changed = {key: _merged(before.get(key), value) for key, value in patch.items() if value is not None}
    return {key: value for key, value in before.items() if patch.get(key, value) is not None} | changed


async def password_of(api: Secrets, owner: Owner = OWNER) -> str | None:
    """What Dovecot has to say, as a reconcile of `owner` comes to it."""
    found = await ConfigSecrets(api).resolve(owner, spec(mailAccess=None), b"k" * 32)  # type: ignore[arg-type]
    return found.get(references.CALLBACK_PASSWORD)


def callback(**changes: Any) -> Manifest:
    """The Secret as it was made before, with changes of its metadata; None takes a field away."""
    return _merged(new_callback_secret(OWNER), {"metadata": changes}) or {}


def written(secret: Manifest) -> str:
    return base64.b64decode(secret["data"]["password"]).decode()


def listed(secret: Manifest) -> list[str]:
    return [reference["uid"] for reference in secret["metadata"].get("ownerReferences") or ()]


async def test_the_callback_s_secret_belongs_to_nobody_and_a_new_config_of_the_name_takes_it_over_unchanged() -> None:
    api = Secrets()
    first = await password_of(api, FORMER)
    (secret,) = api.found.values()
    assert listed(secret) == []
    assert names.listener_labels("main").items() <= secret["metadata"]["labels"].items()
    writes = api.writes
    assert await password_of(api, OWNER) == first
    assert api.writes == writes, "nothing of it names the MailPushConfig's UID"


@pytest.mark.parametrize("owner", [OWNER, FORMER])
async def test_the_owner_that_an_older_version_gave_it_is_taken_off_and_another_s_stays(owner: Owner) -> None:
    old = callback(ownerReferences=[OTHER_OWNER, owner.reference()])
    api = Secrets(old)
    assert await password_of(api) == written(old)
    assert listed(api.found["mail-push-main-callback"]) == [OTHER_OWNER["uid"]]


async def test_labels_that_were_taken_off_come_back_since_the_type_says_whose_it_is() -> None:
    old = callback(labels=None)
    api = Secrets(old)
    assert await password_of(api) == written(old)
    labels = api.found["mail-push-main-callback"]["metadata"]["labels"]
    assert names.listener_labels("main").items() <= labels.items()


@pytest.mark.parametrize(
    "foreign",
    [
        {"type": "Opaque", "metadata": {"name": "mail-push-main-callback"}},
        {"type": "Opaque", "metadata": {"name": "mail-push-main-callback", "labels": {names.CONFIG_LABEL: "main"}}},
        {**callback(labels={names.CONFIG_LABEL: "other"})},
        {**callback(ownerReferences=[Owner("mail", "other", "o").reference()])},
    ],
)
async def test_a_foreign_secret_is_neither_used_nor_touched(foreign: Manifest) -> None:
    api = Secrets({"data": {"login": "eA==", "password": "eA=="}, **foreign})
    before = copy.deepcopy(api.found)
    with pytest.raises(ForeignSecretError, match="mail-push-main-callback is not Mail Push's own"):
        await password_of(api)
    assert api.found == before


async def test_a_foreign_secret_is_no_key_of_the_hand_over_and_is_not_deleted_with_the_config() -> None:
    foreign = {"type": "Opaque", "metadata": {"name": "mail-push-main-internal"}, "data": {"handover.key": "eA=="}}
    api = Secrets(foreign)
    with pytest.raises(ForeignSecretError):
        await ConfigSecrets(api).internal_keys(OWNER)  # type: ignore[arg-type]
    assert listed(api.found["mail-push-main-internal"]) == []


async def test_the_keys_of_the_hand_over_go_with_their_config_and_a_new_one_takes_over_what_is_left() -> None:
    api = Secrets(new_internal_secret(FORMER))
    before = api.found["mail-push-main-internal"]["data"]
    await ConfigSecrets(api).internal_keys(OWNER)  # type: ignore[arg-type]
    assert listed(api.found["mail-push-main-internal"]) == [OWNER.uid]
    assert api.found["mail-push-main-internal"]["data"] == before


async def test_an_empty_password_is_made_anew_and_the_login_stays() -> None:
    old = new_callback_secret(OWNER)
    old["data"] = {"login": base64.b64encode(b"mine").decode(), "password": ""}
    api = Secrets(old)
    assert await password_of(api)
    assert api.found["mail-push-main-callback"]["data"]["login"] == old["data"]["login"]


async def passcrypt_of(api: Secrets, owner: Owner = OWNER, *, made: bool = False) -> ResolvedSecrets:
    storing = spec(mailAccess=None, credentialStorage={"enabled": True, "generatePasscrypt": True})
    return await ConfigSecrets(api).resolve(owner, storing, b"k" * 32, passcrypt_made=made)  # type: ignore[arg-type]


async def test_a_passcrypt_is_made_once_and_only_where_it_is_asked_for() -> None:
    api = Secrets()
    await password_of(api)
    assert "mail-push-main-passcrypt" not in api.found
    first = (await passcrypt_of(api, FORMER)).get(references.PASSCRYPT)
    assert first is not None
    assert first.isascii()
    assert len(first) >= 32
    secret = api.found["mail-push-main-passcrypt"]
    assert listed(secret) == []
    assert is_permitted(secret, "passcrypt"), "a reference may name it as well, as the previous one"
    writes = api.writes
    assert (await passcrypt_of(api, OWNER)).get(references.PASSCRYPT) == first
    assert api.writes == writes


async def test_a_passcrypt_of_another_with_the_name_is_not_used() -> None:
    foreign = {"type": "Opaque", "metadata": {"name": "mail-push-main-passcrypt"}, "data": {"passcrypt": "eA=="}}
    with pytest.raises(ForeignSecretError, match="mail-push-main-passcrypt"):
        await passcrypt_of(Secrets(foreign))


@pytest.mark.parametrize("data", [{}, {"passcrypt": ""}, {"passcrypt": "IAo="}])
async def test_a_passcrypt_that_was_emptied_is_missing_and_never_made_anew(data: dict[str, str]) -> None:
    """Another one would read nothing of what is stored, and hide that the Secret has to be restored."""
    api = Secrets({**new_passcrypt_secret(OWNER), "data": data})
    before = copy.deepcopy(api.found["mail-push-main-passcrypt"])
    found = await passcrypt_of(api)
    assert found.get(references.PASSCRYPT) is None
    assert found.missing == (references.PASSCRYPT,)
    assert api.found["mail-push-main-passcrypt"] == before


async def test_a_passcrypt_whose_secret_was_deleted_is_missing_and_never_made_anew() -> None:
    api = Secrets()
    found = await passcrypt_of(api, made=True)
    assert found.missing == (references.PASSCRYPT,)
    assert "mail-push-main-passcrypt" not in api.found
    put_back = Secrets(new_passcrypt_secret(OWNER))
    assert (await passcrypt_of(put_back, made=True)).get(references.PASSCRYPT)


async def test_the_passcrypt_s_labels_come_back_since_the_type_says_whose_it_is() -> None:
    made = new_passcrypt_secret(OWNER)
    made["metadata"].pop("labels")
    api = Secrets(made)
    assert (await passcrypt_of(api)).get(references.PASSCRYPT)
    assert is_permitted(api.found["mail-push-main-passcrypt"], "passcrypt")
