"""What an explanation is made from: the objects of a cluster or of files that say something about one user."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailpush import names
from mailpush.cli.kubectl.manifests import Object, Trouble, decoded, documents, mapping, name_of, namespace_of
from mailpush.credentials.user_secret import UserSecret


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


def config_of(user: Mapping[str, Any]) -> str:
    """Name of the MailPushConfig that a PushUser refers to."""
    reference = (user.get("spec") or {}).get("configRef")
    return str(reference.get("name", "")) if isinstance(reference, Mapping) else ""


def choose(users: Sequence[Object], context_id: int, user_id: int, config: str | None) -> Object:
    """The one PushUser that is meant.

    Raises:
        Trouble: there is none, with the nearest names; or there are several.
    """
    # As texts: a number in quotes is a fault that is reported once the user has been found.
    ids = (str(context_id), str(user_id))
    found = [user for user in users if ids == _ids(user) and config in (None, config_of(user))]
    namespaces = sorted({str(user["metadata"].get("namespace") or "no namespace") for user in found})
    if len(namespaces) > 1:
        raise Trouble(
            f"user {user_id} of context {context_id} is registered in {len(namespaces)} namespaces "
            f"({', '.join(namespaces)}): add --namespace NAME"
        )
    if len(found) > 1:
        configs = ", ".join(sorted(config_of(user) for user in found))
        raise Trouble(
            f"user {user_id} of context {context_id} is registered with {len(found)} MailPushConfigs ({configs}): "
            "add --config NAME"
        )
    if not found:
        raise Trouble(_missing(users, context_id, user_id, config))
    return found[0]


def _ids(user: Mapping[str, Any]) -> tuple[str, str]:
    spec = user.get("spec") or {}
    return str(spec.get("contextId")), str(spec.get("userId"))


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


def from_files(
    files: Iterable[Path], context_id: int, user_id: int, config: str | None, namespace: str | None = None
) -> Evidence:
    """From manifests. A Secret that is in none of them is taken to be as it should.

    Of an object that stands there twice the last counts, as with `kubectl apply`. One without a namespace belongs to
    whichever is asked for.

    Raises:
        Trouble: a file cannot be read, or the user is in none of them.
    """
    objects: dict[tuple[str, str | None, str], Object] = {}
    for file in files:
        for document in documents(file):
            kind = document.get("kind")
            if kind in ("MailPushConfig", "PushUser", "Secret"):
                mapping(document, "spec", f"{kind} {name_of(document)}")
                if kind == "PushUser" and document.get("spec") is None:
                    # Its ids stand there: without them it is nobody, and would not be missed.
                    raise Trouble(f"{kind} {name_of(document)}: spec is missing")
                objects[kind, namespace_of(document), name_of(document)] = document

    def all_of(wanted: str, where: str | None) -> list[Object]:
        """Those of a namespace; of all where none is asked for."""
        return [
            one for (kind, of, _), one in objects.items() if kind == wanted and (where is None or of in (None, where))
        ]

    user = choose(all_of("PushUser", namespace), context_id, user_id, config)
    where = user["metadata"].get("namespace") or namespace
    found = next((one for one in all_of("MailPushConfig", where) if name_of(one) == config_of(user)), None)
    there = {name_of(one): one for one in all_of("Secret", where)}
    wanted = secret_names(user, found)
    secrets: dict[str, Object | None] = {name: decoded(there[name]) for name in sorted(wanted) if name in there}
    return Evidence(user, found, secrets, frozenset(wanted) - frozenset(secrets))


def secret_names(user: Mapping[str, Any], config: Mapping[str, Any] | None) -> set[str]:
    """Secrets that the decision on a user depends on."""
    references = [(user.get("spec") or {}).get("credentialsSecretRef")]
    access = (config.get("spec") or {}).get("mailAccess") if config is not None else None
    if isinstance(access, Mapping):
        references.append(access.get("masterPasswordSecretRef"))
    return {str(one["name"]) for one in references if isinstance(one, Mapping) and one.get("name")}


def user_secret_of(evidence: Evidence, name: str, push_user: str) -> UserSecret:
    """What is known of a user's Secret; one that could not be looked at counts as it should be."""
    from mailpush.credentials.user_secret import MISSING, user_secret

    if name in evidence.unread:
        return UserSecret(found=True, password="taken to be there")  # noqa: S106
    secret = evidence.secrets.get(name)
    return MISSING if secret is None else user_secret(secret, push_user)
