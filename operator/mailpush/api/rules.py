"""What the API server would refuse beyond types and ranges: the rules of our definitions, without a server.

The rules are CEL in the definitions. Each has a twin in Python here, found by its text, so that a file is judged by the
same sentences as it would be on `kubectl apply`. Rules on changes are left out: a file has no before.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from mailpush import names
from mailpush.api.crds import definitions
from mailpush.api.mailpushconfig import NAME_RULE, SECRET_PROPERTIES
from mailpush.api.pushuser import NAME_RULE as USER_NAME_RULE

Schema = Mapping[str, Any]
Holds = Callable[[Any], bool]

FILES: Final = {"MailPushConfig": "mailpushconfigs.yaml", "PushUser": "pushusers.yaml"}
_SPELLINGS: Final = ("com.openexchange.push.allowedClient", "com.openexchange.push.allowedClients")


def _name_fits(config: Any) -> bool:
    name = config["metadata"]["name"]
    return len(name) <= names.MAX_CONFIG_NAME and "." not in name


def _user_name(user: Any) -> str:
    spec = user["spec"]
    return names.push_user_name(spec["configRef"]["name"], spec["contextId"], spec["userId"])


def _passwords_come_from_somewhere(spec: Any) -> bool:
    access = spec.get("mailAccess")
    if access is None or access["passwordSource"] != "session":
        return True
    sources = (spec["credentialStorage"], access["userSecrets"], access["oauth"], access["doveadm"])
    return any(source["enabled"] for source in sources)


def _one_spelling(values: Any, *spellings: str) -> bool:
    given = [values[spelling] for spelling in spellings if spelling in values]
    return all(one == given[0] for one in given)


def _lacks(key: str, spec: Any) -> bool:
    return key not in spec["properties"]


HOLDS: Final[Mapping[str, Holds]] = {
    NAME_RULE: _name_fits,
    USER_NAME_RULE: lambda user: user["metadata"]["name"] == _user_name(user),
    "!has(self.mailAccess) || self.mailAccess.passwordSource != 'session' || self.credentialStorage.enabled || "
    "self.mailAccess.userSecrets.enabled || self.mailAccess.oauth.enabled || self.mailAccess.doveadm.enabled": (
        _passwords_come_from_somewhere
    ),
    **{f"!('{key}' in self.properties)": functools.partial(_lacks, key) for key in SECRET_PROPERTIES},
    "!has(self.allowedClient) || !has(self.allowedClients) || self.allowedClient == self.allowedClients": (
        lambda spec: _one_spelling(spec, "allowedClient", "allowedClients")
    ),
    f"!('{_SPELLINGS[0]}' in self.properties && '{_SPELLINGS[1]}' in self.properties) || "
    f"self.properties['{_SPELLINGS[0]}'] == self.properties['{_SPELLINGS[1]}']": (
        lambda spec: _one_spelling(spec["properties"], *_SPELLINGS)
    ),
    "!self.properties.exists(key, key.startsWith('mailpush.'))": (
        lambda spec: not any(key.startswith("mailpush.") for key in spec["properties"])
    ),
    "!self.enabled || has(self.passcryptSecretRef) || self.generatePasscrypt": (
        lambda one: not one["enabled"] or "passcryptSecretRef" in one or one["generatePasscrypt"]
    ),
    "!has(self.passcryptSecretRef) || !self.generatePasscrypt": (
        lambda one: "passcryptSecretRef" not in one or not one["generatePasscrypt"]
    ),
    "!has(self.caSecretRef) || self.tls == 'verify'": lambda one: "caSecretRef" not in one or one["tls"] == "verify",
    "self.credentials == 'none' || has(self.database)": lambda one: one["credentials"] == "none" or "database" in one,
    "self.credentials != 'readWrite' || has(self.form)": lambda one: one["credentials"] != "readWrite" or "form" in one,
    "!self.enabled || has(self.tokenSecretRef) != has(self.tokenEndpoint)": (
        lambda one: not one["enabled"] or ("tokenSecretRef" in one) != ("tokenEndpoint" in one)
    ),
    "self.passwordSource != 'global' || has(self.masterPasswordSecretRef)": (
        lambda one: one["passwordSource"] != "global" or "masterPasswordSecretRef" in one
    ),
    "!has(self.masterUser) || self.passwordSource == 'global'": (
        lambda one: "masterUser" not in one or one["passwordSource"] == "global"
    ),
    "!self.enabled || size(self.endpoints) > 0": lambda one: not one["enabled"] or len(one["endpoints"]) > 0,
    "!self.enabled || has(self.apiSecretRef)": lambda one: not one["enabled"] or "apiSecretRef" in one,
    "self.all(one, self.exists_one(other, other == one))": lambda one: len(set(one)) == len(one),
}
"""By the rule's text: whether it holds for the value that it stands at."""


def broken(kind: str, document: Mapping[str, Any]) -> list[str]:
    """The message of every rule that an object breaks.

    Args:
        kind: `MailPushConfig` or `PushUser`.
        document: `metadata` and `spec`, with all defaults, and with types that fit.
    """
    return list(dict.fromkeys(_broken(_schema(kind), document, "")))


@functools.cache
def _schema(kind: str) -> Schema:
    schema: Schema = definitions()[FILES[kind]]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def rules(kind: str) -> Iterator[str]:
    """The text of every rule of a kind that is not one on changes."""
    waiting = [_schema(kind)]
    while waiting:
        node = waiting.pop()
        yield from (rule["rule"] for rule in _rules(node))
        waiting += [child for child in (*node.get("properties", {}).values(), node.get("items")) if child]


def _rules(node: Schema) -> Iterator[Mapping[str, str]]:
    return (rule for rule in node.get("x-kubernetes-validations", ()) if "oldSelf" not in rule["rule"])


def _broken(node: Schema, value: Any, path: str) -> Iterator[str]:
    for rule in _rules(node):
        if not HOLDS[rule["rule"]](value):
            yield rule["message"] if "messageExpression" not in rule else _computed(value)
    if isinstance(value, list):
        yield from _repeated(node, value, path)
        for index, item in enumerate(value):
            yield from _broken(node["items"], item, f"{path}[{index}]")
    for name, child in node.get("properties", {}).items():
        if isinstance(value, Mapping) and name in value:
            yield from _broken(child, value[name], f"{path}.{name}".removeprefix("."))


def _computed(user: Any) -> str:
    """The one message that is made from the object: a PushUser's name."""
    return f"metadata.name must be {_user_name(user)} (configRef.name, contextId, userId)"


def _repeated(node: Schema, items: list[Any], path: str) -> Iterator[str]:
    kind = node.get("x-kubernetes-list-type")
    key = node["x-kubernetes-list-map-keys"][0] if kind == "map" else None
    known = items if kind == "set" else [item[key] for item in items] if key else []
    for index, one in enumerate(known):
        if one in known[:index]:
            where = f"{path}[{index}]{f'.{key}' if key else ''}"
            yield f'{where} is "{one}" a second time: take one of them away'
