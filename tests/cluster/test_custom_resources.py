"""What the real API server makes of our definitions: refusals that say what to change, columns, selectors, scale."""

from typing import Any

import pytest
import yaml

from tests.cluster.conftest import ROOT, Namespace

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
    "session without a source of passwords": (
        config(mailAccess={"passwordSource": "session", "servers": SERVERS}),
        [
            'mailAccess.passwordSource is "session", so one of credentialStorage.enabled, mailAccess.userSecrets, '
            "mailAccess.oauth or mailAccess.doveadm is needed"
        ],
    ),
    "no passwordSource, which is session": (
        config(mailAccess={"servers": SERVERS}),
        ["so one of credentialStorage.enabled, mailAccess.userSecrets"],
    ),
    "global without a master password": (
        config(mailAccess={"passwordSource": "global", "servers": SERVERS}),
        ["masterPasswordSecretRef"],
    ),
    "a name that does not fit the ids": (user("main-1-4"), ["metadata.name must be main-1-3"]),
    "a name without the config": (user("anton"), ["metadata.name must be main-1-3"]),
    "a context of 0": (user("main-0-3", contextId=0), ["spec.contextId", "greater than or equal to 1"]),
    "a user id beyond OX's": (user("main-1-2147483648", userId=2147483648), ["spec.userId", "2147483647"]),
    "a name too long for its pods": (config("m" * 41), ["40"]),
    "a password in a URL": (config(redis={"url": "redis://:secret@redis:6379/0"}), ["spec.redis.url"]),
    "negative replicas": (config(listeners={"replicas": -1}), ["spec.listeners.replicas"]),
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


@pytest.mark.parametrize(
    ("change", "words"),
    [({"userId": 4}, "userId"), ({"contextId": 2}, "contextId"), ({"configRef": {"name": "other"}}, "configRef")],
)
def test_who_a_push_user_is_cannot_be_changed(namespace: Namespace, change: dict[str, Any], words: str) -> None:
    namespace.apply(user())
    refusal = namespace.refusal(user(**change))
    assert words in refusal
    assert "immutable" in refusal


def test_what_makes_a_push_user_is_required(namespace: Namespace) -> None:
    for field in ("configRef", "contextId", "userId"):
        spec = {key: value for key, value in USER["spec"].items() if key != field}
        refusal = namespace.refusal(yaml.safe_dump({**USER, "spec": spec}))
        assert f"spec.{field}" in refusal
        assert "Required value" in refusal


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("[!v]*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_taken(namespace: Namespace, example: Any) -> None:
    namespace.apply(example.read_text())


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
    for kind in ("mailpushconfig.spec", "pushuser.spec", "shardmap.spec", "pushuser.status", "mailpushconfig.status"):
        explained = namespace.kubectl("explain", kind, "--recursive=false")
        assert "<no description>" not in explained
