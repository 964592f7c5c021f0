"""What the real API server makes of our definitions: refusals that say what to change, columns, selectors, scale."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml

from mailpush.api import crds
from tests.cluster.conftest import ROOT
from tests.sites.namespace import Namespace

USER: dict[str, Any] = {
    "apiVersion": "mailpush.dev/v1alpha1",
    "kind": "PushUser",
    "metadata": {"name": "main-1-3"},
    "spec": {"configRef": {"name": "main"}, "contextId": 1, "userId": 3, "clients": ["open-xchange-mobile-api-facade"]},
}
CONFIG: dict[str, Any] = {
    "apiVersion": "mailpush.dev/v1alpha1",
    "kind": "MailPushConfig",
    "metadata": {"name": "main"},
    "spec": {},
}


def user(name: str = "main-1-3", **spec: Any) -> str:
    return yaml.safe_dump({**USER, "metadata": {"name": name}, "spec": {**USER["spec"], **spec}})


def config(name: str = "main", **spec: Any) -> str:
    return yaml.safe_dump({**CONFIG, "metadata": {"name": name}, "spec": spec})


SERVERS = [{"name": "default", "host": "imap.example.org"}]

HOSTILE = {"name": "../../team-b/secrets/it"}
GLOBAL = {"passwordSource": "global", "servers": SERVERS}

REFUSED = {
    "a typo in a field": (config(allowPermanentPsh=True), ['unknown field "spec.allowPermanentPsh"']),
    "a typo in a PushUser": (user(cliens=["x"]), ['unknown field "spec.cliens"']),
    "a wrong package status": (
        config(packages={"status": {"open-xchange-push-dovecot": "on"}}),
        ["spec.packages.status.open-xchange-push-dovecot", '"on"', '"enabled", "disabled"'],
    ),
    "a wrong passwordSource": (
        config(mailAccess={"passwordSource": "master", "servers": SERVERS}),
        ["spec.mailAccess.passwordSource", '"master"', '"session", "global"'],
    ),
    "no passwordSource, which is session": (
        config(mailAccess={"servers": SERVERS}),
        ["so one of credentialStorage.enabled, mailAccess.userSecrets"],
    ),
    "a dot in a name": (config("m.x"), ["no dot"]),
    "a name without the config": (user("anton"), ["metadata.name must be main-1-3"]),
    "a context of 0": (user("main-0-3", contextId=0), ["spec.contextId", "greater than or equal to 1"]),
    "a user id beyond OX's": (user("main-1-2147483648", userId=2147483648), ["spec.userId", "2147483647"]),
    "a name too long for its pods": (config("m" * 41), ["40"]),
    "a password in a URL": (config(redis={"url": "redis://:secret@redis:6379/0"}), ["spec.redis.url"]),
    "negative replicas": (config(listeners={"replicas": -1}), ["spec.listeners.replicas"]),
    "another namespace's Secret": (
        config(
            mailAccess={**GLOBAL, "masterPasswordSecretRef": {"name": "../../team-b/secrets/it", "key": "password"}}
        ),
        ["spec.mailAccess.masterPasswordSecretRef.name", "should match"],
    ),
    "another namespace's Secret for a user": (
        user(credentialsSecretRef=HOSTILE),
        ["spec.credentialsSecretRef.name", "should match"],
    ),
    "a key that no Secret can have": (
        config(mailAccess={**GLOBAL, "masterPasswordSecretRef": {"name": "master", "key": "a/b"}}),
        ["spec.mailAccess.masterPasswordSecretRef.key", "should match"],
    ),
    "two servers of one name": (
        config(
            mailAccess={
                "passwordSource": "session",
                "userSecrets": {"enabled": True},
                "servers": [*SERVERS, *SERVERS],
            }
        ),
        ["spec.mailAccess.servers[1]", "Duplicate value"],
    ),
}


@pytest.mark.parametrize(("manifest", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_refused_with_a_sentence_that_says_what_to_change(
    namespace: Namespace, manifest: str, said: list[str]
) -> None:
    refusal = namespace.refusal(manifest)
    for words in said:
        assert words in refusal


class Case(NamedTuple):
    """What breaks a rule; `before` is there already, for rules on changes."""

    manifest: str
    before: str | None = None


MASTER = {"name": "master", "key": "password"}
SECRET = "properties must not hold {}, which is a secret: use {}"
OX = "com.openexchange"
ALLOWED = f"{OX}.push.allowedClient"
IMMUTABLE = "{} is immutable: delete this PushUser and create another one"
MISNAMED = "metadata.name must be main-1-3 (configRef.name, contextId, userId)"

RULES: dict[str, Case] = {
    "metadata.name must have at most 40 characters and no dot: pods and Services are named after it": Case(
        config("m" * 41)
    ),
    'mailAccess.passwordSource is "session", so one of credentialStorage.enabled, mailAccess.userSecrets, '
    "mailAccess.oauth or mailAccess.doveadm is needed": Case(
        config(mailAccess={"passwordSource": "session", "servers": SERVERS})
    ),
    **{
        SECRET.format(key, field): Case(config(properties={key: "hunter2"}))
        for key, field in (
            (f"{OX}.mail.masterPassword", "mailAccess.masterPasswordSecretRef"),
            (f"{OX}.push.credstorage.passcrypt", "credentialStorage.passcryptSecretRef"),
            (f"{OX}.dovecot.doveadm.apiSecret", "mailAccess.doveadm.apiSecretRef"),
            (f"{OX}.rest.services.basic-auth.login", "callback.authSecretRef"),
            (f"{OX}.rest.services.basic-auth.password", "callback.authSecretRef"),
        )
    },
    "allowedClient and allowedClients are both set and differ: allowedClient is another spelling of allowedClients, "
    "so keep allowedClients alone": Case(config(allowedClient=["a*"], allowedClients=["b*"])),
    f"properties has {ALLOWED} and {ALLOWED}s, and they differ: keep {ALLOWED}s alone": Case(
        config(properties={ALLOWED: "a*", f"{ALLOWED}s": "b*"})
    ),
    "properties must not hold mailpush.*, which the operator writes: use the fields": Case(
        config(properties={"mailpush.redis.url": "redis://redis"})
    ),
    "credentialStorage.generatePasscrypt is true, so credentialStorage.passcryptSecretRef must not be set": Case(
        config(credentialStorage={"generatePasscrypt": True, "passcryptSecretRef": {"name": "p", "key": "k"}})
    ),
    "credentialStorage.enabled is true, so credentialStorage.passcryptSecretRef is needed": Case(
        config(credentialStorage={"enabled": True})
    ),
    'caSecretRef is set, so tls must be "verify", or nothing is checked by it': Case(
        config(credentialStorage={"database": {"url": "mysql://db/push", "caSecretRef": {"name": "ca", "key": "ca"}}})
    ),
    "credentialStorage.ox.credentials is set, so credentialStorage.ox.database (the configdb) is needed": Case(
        config(credentialStorage={"ox": {"credentials": "read"}})
    ),
    'credentialStorage.ox.credentials is "readWrite", so credentialStorage.ox.form is needed': Case(
        config(credentialStorage={"ox": {"credentials": "readWrite", "database": {"url": "mysql://db/configdb"}}})
    ),
    "mailAccess.oauth.enabled is true, so exactly one of mailAccess.oauth.tokenSecretRef and "
    "mailAccess.oauth.tokenEndpoint is needed": Case(
        config(mailAccess={"oauth": {"enabled": True}, "servers": SERVERS})
    ),
    'mailAccess.passwordSource is "global", so mailAccess.masterPasswordSecretRef is needed': Case(
        config(mailAccess={"passwordSource": "global", "servers": SERVERS})
    ),
    'mailAccess.masterUser is set, so mailAccess.passwordSource must be "global"': Case(
        config(mailAccess={"masterUser": {"name": "master"}, "userSecrets": {"enabled": True}, "servers": SERVERS})
    ),
    "mailAccess.doveadm.enabled is true, so mailAccess.doveadm.endpoints needs at least one": Case(
        config(mailAccess={"doveadm": {"enabled": True, "apiSecretRef": {"name": "d", "key": "k"}}, "servers": SERVERS})
    ),
    "mailAccess.doveadm.enabled is true, so mailAccess.doveadm.apiSecretRef is needed": Case(
        config(mailAccess={"doveadm": {"enabled": True, "endpoints": ["https://d/doveadm/v1"]}, "servers": SERVERS})
    ),
    "mechanisms.order names a mechanism twice": Case(config(mechanisms={"order": ["dovecot", "dovecot"]})),
    MISNAMED: Case(user("main-1-4")),
    IMMUTABLE.format("configRef"): Case(user(configRef={"name": "other"}), before=user()),
    IMMUTABLE.format("contextId"): Case(user(contextId=2), before=user()),
    IMMUTABLE.format("userId"): Case(user(userId=4), before=user()),
}
"""Each rule's message, and what breaks it."""


@pytest.mark.parametrize(("message", "case"), RULES.items())
def test_what_breaks_a_rule_is_refused_in_the_rules_words(namespace: Namespace, message: str, case: Case) -> None:
    if case.before is not None:
        namespace.apply(case.before)
    refusal = namespace.refusal(case.manifest)
    assert message in refusal
    assert "<nil>" not in refusal


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for child in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(child, dict):
            yield from nodes(child)


def test_every_rule_of_the_definitions_has_its_case_above() -> None:
    schemas = [one["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for one in crds.definitions().values()]
    rules = [rule for schema in schemas for node in nodes(schema) for rule in node.get("x-kubernetes-validations", ())]
    # What is computed from the object has an example above.
    messages = [MISNAMED if "messageExpression" in rule else rule["message"] for rule in rules]
    assert set(messages) == RULES.keys()


TAKEN = {
    "both spellings with the same patterns": config(allowedClient=["a*"], allowedClients=["a*"]),
    "the article's spelling alone": config(allowedClient=["a*"]),
    "both spellings in properties": config(properties={ALLOWED: "a*", f"{ALLOWED}s": "a*"}),
    "a whitelist": config(packages={"whitelist": ["open-xchange-push-dovecot"]}),
    "every property": (ROOT / "tests" / "golden" / "every-property" / "mailpushconfig.yaml").read_text(),
    "everything": (ROOT / "tests" / "golden" / "everything" / "mailpushconfig.yaml").read_text(),
}


@pytest.mark.parametrize("manifest", TAKEN.values(), ids=TAKEN.keys())
def test_what_breaks_no_rule_is_taken(namespace: Namespace, manifest: str) -> None:
    namespace.apply(manifest)


HEAD = "apiVersion: mailpush.dev/v1alpha1\nkind: MailPushConfig\nmetadata: {name: main}\n"
BARE = HEAD.replace("main}", "main, %s}") + "spec: {}\n"
FILES_REFUSED = {
    "no spec": HEAD,
    "spec is null": f"{HEAD}spec:\n",
    "an unknown field at the top": f"{HEAD}spec: {{}}\nspce: {{}}\n",
    "another version": f"{HEAD}spec: {{}}\n".replace("v1alpha1", "v1"),
    "another group": f"{HEAD}spec: {{}}\n".replace("mailpush.dev", "mail.example"),
    "no apiVersion": f"{HEAD}spec: {{}}\n".removeprefix("apiVersion: mailpush.dev/v1alpha1\n"),
    "a property y": f"{HEAD}spec: {{properties: {{a: y}}}}\n",
    "a property 4.0": f"{HEAD}spec: {{properties: {{a: 4.0}}}}\n",
    "a property 08": f"{HEAD}spec: {{properties: {{a: 08}}}}\n",
    "a surrogate pair in YAML": f'{HEAD}spec: {{properties: {{a: "\\ud83d\\udcec"}}}}\n',
    "half of one": f'{HEAD}spec: {{properties: {{a: "\\ud83d"}}}}\n',
    "replicas 4.5": f"{HEAD}spec: {{listeners: {{replicas: 4.5}}}}\n",
    "replicas in quotes": f'{HEAD}spec: {{listeners: {{replicas: "4"}}}}\n',
    "a switch y in quotes": f'{HEAD}spec: {{allowPermanentPush: "y"}}\n',
    "an unknown field of metadata": BARE % "lables: {}",
    "a label that is a number": BARE % "labels: {a: 1}",
    "an annotation that is a switch": BARE % "annotations: {a: y}",
    "a list for metadata's labels": BARE % "labels: [a]",
}
FILES_TAKEN = {
    "replicas 4.0": f"{HEAD}spec: {{listeners: {{replicas: 4.0}}}}\n",
    "replicas 4e0": f"{HEAD}spec: {{listeners: {{replicas: 4e0}}}}\n",
    "replicas 017": f"{HEAD}spec: {{listeners: {{replicas: 017}}}}\n",
    "a switch y": f"{HEAD}spec: {{allowPermanentPush: y}}\n",
    "a date as a property": f"{HEAD}spec: {{properties: {{a: 2026-01-01}}}}\n",
    "a time as a property": f"{HEAD}spec: {{properties: {{a: 12:30}}}}\n",
    "an equals sign as a property": f"{HEAD}spec: {{properties: {{a: =}}}}\n",
    "keys that are no texts": f"{HEAD}spec: {{properties: {{1: a, y: b, 2026-01-01: c}}}}\n",
    "a key of 300 characters": f"{HEAD}spec: {{properties: {{{'k' * 300}: a}}}}\n",
    "a no-break space": f'{HEAD}spec: {{allowedClients: ["a\\u00a0"]}}\n',
    "a surrogate pair in JSON": json.dumps({**CONFIG, "spec": {"properties": {"a": "\U0001f4ec"}}}),
    "a field that is null": f"{HEAD}spec: {{allowedClients: , listeners: }}\n",
    "a package that is null": f"{HEAD}spec: {{packages: {{status: {{a: }}}}}}\n",
    "a property that is null": f"{HEAD}spec: {{properties: {{a: }}}}\n",
    "a label and an annotation": BARE % 'labels: {a: b}, annotations: {a: "1"}',
    "labels that are null": BARE % "labels: , annotations: ",
    "a status": f"{HEAD}spec: {{}}\nstatus: {{}}\n",
}
"""As kubectl and the API server see them; tests/unit/cli/test_manifests.py has `kubectl mailpush render` agree."""


@pytest.mark.parametrize("text", FILES_REFUSED.values(), ids=FILES_REFUSED.keys())
def test_a_file_that_render_refuses_is_refused(namespace: Namespace, text: str) -> None:
    assert namespace.refusal(text)


@pytest.mark.parametrize("text", FILES_TAKEN.values(), ids=FILES_TAKEN.keys())
def test_a_file_that_render_takes_is_taken(namespace: Namespace, text: str) -> None:
    namespace.apply(text)


def test_what_makes_a_push_user_is_required(namespace: Namespace) -> None:
    for field in ("configRef", "contextId", "userId"):
        spec = {key: value for key, value in USER["spec"].items() if key != field}
        refusal = namespace.refusal(yaml.safe_dump({**USER, "spec": spec}))
        assert f"spec.{field}" in refusal
        assert "Required value" in refusal


# Values of the chart are tried with it (tests/chart/test_examples.py).
EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.yaml")) if "\nkind: " in path.read_text()]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_taken(namespace: Namespace, example: Any) -> None:
    namespace.apply(example.read_text())


def test_no_example_is_left_out() -> None:
    assert {path.name for path in EXAMPLES} >= {"mailpushconfig.yaml", "pushusers.yaml"}


def test_columns_short_names_and_selectable_fields(namespace: Namespace) -> None:
    namespace.apply(user(), user("main-2-3", contextId=2), config())
    assert namespace.kubectl("get", "pu").splitlines()[0].split() == [
        *("NAME", "CONTEXT", "USER", "PERMANENT", "MECHANISM", "POD", "READY", "REASON", "AGE")
    ]
    wide = namespace.kubectl("get", "pu", "-o", "wide").splitlines()[0].split()
    assert {"LOGIN", "CLIENTS", "SERVER"} <= set(wide)
    assert namespace.kubectl("get", "sm", "--ignore-not-found") == ""
    assert namespace.kubectl("get", "mpc").splitlines()[1].startswith("main")
    found = namespace.kubectl("get", "pu", "--field-selector", "spec.contextId=2", "-o", "name").split()
    assert found == ["pushuser.mailpush.dev/main-2-3"]
    both = namespace.kubectl("get", "pu", "--field-selector", "spec.configRef.name=main", "-o", "name").split()
    assert len(both) == 2


def test_a_config_is_scaled_by_its_scale_subresource_down_to_none(namespace: Namespace) -> None:
    namespace.apply(config(listeners={"replicas": 3}))
    namespace.kubectl("scale", "mailpushconfig", "main", "--replicas=0")
    found = namespace.get("mailpushconfig", "main")
    assert found is not None
    assert found["spec"]["listeners"]["replicas"] == 0


def test_every_field_is_explained(namespace: Namespace) -> None:
    """By what kubectl explain itself asks the server for."""
    answer = json.loads(namespace.kubectl("get", "--raw", "/openapi/v3/apis/mailpush.dev/v1alpha1"))
    kinds = {
        name.rsplit(".", 1)[1]: schema
        for name, schema in answer["components"]["schemas"].items()
        if name.startswith("dev.mailpush.") and not name.endswith("List")
    }
    assert kinds.keys() == {"MailPushConfig", "PushUser", "ShardMap"}
    bare = [
        f"{kind}: {name}"
        for kind, schema in kinds.items()
        for node in nodes(schema)
        for name, field in node.get("properties", {}).items()
        if not field.get("description", "").strip() and "allOf" not in field  # metadata, which is Kubernetes' own
    ]
    assert bare == []
    explained = namespace.kubectl("explain", "mailpushconfig.spec.mechanisms.mailnotify.udpListenHost")
    assert "com.openexchange.push.mail.notify.udp_listen_host" in explained
