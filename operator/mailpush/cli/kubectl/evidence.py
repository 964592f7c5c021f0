"""What an explanation is made from: the objects of a cluster or of files that say something about one user."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mailpush import names
from mailpush.credentials.user_secret import UserSecret

Object = dict[str, Any]


class Trouble(Exception):  # noqa: N818 - it reads as what it is
    """The question cannot be answered; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one PushUser.

    Attributes:
        config: its MailPushConfig; None where it does not exist.
        secrets: Secrets by name, as far as they were looked at: None is one that does not exist.
        unread: names of Secrets that nobody could look at; they are taken to be as they should.
        shard_map: the ShardMap's object; None where there is none, or where files were read.
        live: whether it comes from a cluster.
    """

    user: Object
    config: Object | None
    secrets: Mapping[str, Object | None]
    unread: frozenset[str] = frozenset()
    shard_map: Object | None = None
    live: bool = False

    @property
    def name(self) -> str:
        return str(self.user["metadata"]["name"])

    @property
    def config_name(self) -> str:
        return config_of(self.user)


def decoded(secret: Mapping[str, Any]) -> Object:
    """A Secret of a file with its `stringData` where the API server would put it. Values stay in it: never print it."""
    import base64

    plain = {str(key): str(value).encode() for key, value in (secret.get("stringData") or {}).items()}
    data = {key: base64.b64encode(value).decode() for key, value in plain.items()}
    return {**secret, "data": {**(secret.get("data") or {}), **data}}


def config_of(user: Mapping[str, Any]) -> str:
    """Name of the MailPushConfig that a PushUser refers to."""
    return str(((user.get("spec") or {}).get("configRef") or {}).get("name", ""))


def choose(users: Sequence[Object], context_id: int, user_id: int, config: str | None) -> Object:
    """The one PushUser that is meant.

    Raises:
        Trouble: there is none, with the nearest names; or there are several.
    """
    found = [
        user
        for user in users
        if (user.get("spec") or {}).get("contextId") == context_id
        and (user.get("spec") or {}).get("userId") == user_id
        and config in (None, config_of(user))
    ]
    if len(found) > 1:
        configs = ", ".join(sorted(config_of(user) for user in found))
        raise Trouble(
            f"user {user_id} of context {context_id} is registered with {len(found)} MailPushConfigs ({configs}): "
            "add --config NAME"
        )
    if not found:
        raise Trouble(_missing(users, context_id, user_id, config))
    return found[0]


def _missing(users: Sequence[Object], context_id: int, user_id: int, config: str | None) -> str:
    wanted = names.push_user_name(config or "<config>", context_id, user_id)
    sentence = f"there is no PushUser {wanted}"
    known = [str(user["metadata"]["name"]) for user in users]
    if not known:
        return f"{sentence}, nor any other: nobody is registered here"
    elsewhere = [name for name in known if name.endswith(f"-{context_id}-{user_id}")]
    guess = names.push_user_name(config, context_id, user_id) if config else f"main-{context_id}-{user_id}"
    near = list(dict.fromkeys([*elsewhere, *difflib.get_close_matches(guess, known, n=5, cutoff=0.5)]))
    return f"{sentence}; {'near it: ' + ', '.join(near[:5]) if near else f'{len(known)} others are registered'}"


def from_files(files: Iterable[Path], context_id: int, user_id: int, config: str | None) -> Evidence:
    """From manifests. A Secret that is in none of them is taken to be as it should.

    Raises:
        Trouble: a file cannot be read, or the user is in none of them.
    """
    objects: dict[str, dict[str, Object]] = {"MailPushConfig": {}, "PushUser": {}, "Secret": {}}
    for file in files:
        for document in documents(file):
            kind, metadata = document.get("kind"), document.get("metadata")
            if kind in objects and isinstance(metadata, dict) and metadata.get("name"):
                objects[kind][str(metadata["name"])] = document
    user = choose(list(objects["PushUser"].values()), context_id, user_id, config)
    found = objects["MailPushConfig"].get(config_of(user))
    wanted = secret_names(user, found)
    secrets = {name: decoded(objects["Secret"][name]) for name in wanted if name in objects["Secret"]}
    return Evidence(user, found, secrets, frozenset(wanted) - frozenset(secrets))


def secret_names(user: Mapping[str, Any], config: Mapping[str, Any] | None) -> set[str]:
    """Secrets that the decision on a user depends on."""
    references = [(user.get("spec") or {}).get("credentialsSecretRef")]
    if config is not None:
        references.append(((config.get("spec") or {}).get("mailAccess") or {}).get("masterPasswordSecretRef"))
    return {str(reference["name"]) for reference in references if reference and reference.get("name")}


def user_secret_of(evidence: Evidence, name: str) -> UserSecret:
    """What is known of a user's Secret; one that could not be looked at counts as it should be."""
    from mailpush.credentials.user_secret import MISSING, user_secret

    if name in evidence.unread:
        return UserSecret(found=True, password="taken to be there")  # noqa: S106
    secret = evidence.secrets.get(name)
    return MISSING if secret is None else user_secret(secret)


def documents(file: Path) -> list[Object]:
    """The objects of a YAML file, those of a List one by one. Raises Trouble, which never shows the text."""
    try:
        loaded = list(yaml.safe_load_all(file.read_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"{file} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        # Without the text around the place, which may be a Secret's.
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise Trouble(f"{file} is no YAML{where}") from None
    flat: list[Object] = []
    for document in loaded:
        if isinstance(document, dict):
            is_list = document.get("kind") == "List"
            flat += [item for item in document.get("items", []) if isinstance(item, dict)] if is_list else [document]
    return flat
