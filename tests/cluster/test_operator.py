"""The operator on a real API server: children and conditions of a MailPushConfig."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.cluster.controlplane import ControlPlane
from mailpush import names
from mailpush.properties.format import load
from tests.sites.namespace import wait_for
from tests.sites.operator import OperatorSite, running


@pytest.fixture(scope="module")
def site(control_plane: ControlPlane) -> Iterator[OperatorSite]:
    """One operator for all tests of this file; each leaves the MailPushConfig `main` as it found it.

    What it leaves the operator to do may still be under way: who compares with what was before calls `settle` first.
    """
    with running(control_plane, "operator") as site:
        yield site


def settle(site: OperatorSite) -> None:
    """Waits until the operator has done all that follows from what is so by now: it applies the StatefulSet last."""
    stateful_set = ("statefulset", "mail-push-main")
    wait_for("the StatefulSet", lambda: site.namespace.get(*stateful_set))
    site.namespace.kubectl("label", "--overwrite", *stateful_set, f"{names.NAME_LABEL}=edited")
    wait_for("it is put right", lambda: own_labels(site.namespace.get(*stateful_set) or {"metadata": {}}))
    wait_for("the status tells of it", lambda: told(site))


def told(site: OperatorSite) -> bool:
    """Whether the status tells of the spec and of the files as they are. It is written once a second at most."""
    body = site.namespace.get("mpc", "main") or {"metadata": {}}
    status = body.get("status", {})
    return (status.get("observedGeneration"), status.get("configHash")) == (
        body["metadata"].get("generation"),
        site.namespace.written_hash(),
    )


CHILDREN = (
    ("statefulset", "mail-push-main"),
    ("service", "mail-push-main"),
    ("service", "mail-push-main-pods"),
    ("service", "mail-push-main-credentials"),
    ("configmap", "mail-push-main-properties"),
    ("secret", "mail-push-main-secrets"),
    ("secret", "mail-push-main-internal"),
    ("secret", "mail-push-main-callback"),
    ("serviceaccount", "mail-push-main-listener"),
    ("rolebinding", "mail-push-main-listener"),
    ("poddisruptionbudget", "mail-push-main"),
)


KEPT = {("secret", "mail-push-main-callback"), ("service", "mail-push-main")}


@pytest.mark.parametrize(("kind", "name"), CHILDREN)
def test_a_deleted_child_comes_back(site: OperatorSite, kind: str, name: str) -> None:
    before = site.namespace.get(kind, name)
    assert before is not None
    owners = [reference["name"] for reference in before["metadata"].get("ownerReferences", [])]
    # Dovecot knows the callback's password and address, so both outlive the MailPushConfig: test_operator_secrets.py.
    assert owners == ([] if (kind, name) in KEPT else ["main"])
    assert names.listener_labels("main").items() <= before["metadata"]["labels"].items()
    site.namespace.kubectl("delete", kind, name, "--cascade=orphan")

    def back() -> bool:
        found = site.namespace.get(kind, name)
        return found is not None and found["metadata"]["uid"] != before["metadata"]["uid"]

    wait_for(f"{kind} {name} comes back", back)


def test_the_boot_config_map_that_the_pods_mount_comes_back(site: OperatorSite) -> None:
    name = boot_config_map(site)
    site.namespace.kubectl("delete", "configmap", name)
    wait_for("it comes back", lambda: site.namespace.get("configmap", name))


def boot_config_map(site: OperatorSite) -> str:
    stateful_set = site.namespace.get("statefulset", "mail-push-main") or {}
    sources = stateful_set["spec"]["template"]["spec"]["volumes"][0]["projected"]["sources"]
    found: str = sources[1]["configMap"]["name"]
    return found


def own_labels(body: dict[str, Any]) -> bool:
    labels: dict[str, str] = body["metadata"].get("labels", {})
    return names.listener_labels("main").items() <= labels.items()


INTERNAL = ("secret", "mail-push-main-internal")

# Kind, name, how somebody edits it, and where to look whether it is as before.
EDITS: tuple[tuple[str, str, dict[str, Any], Callable[[dict[str, Any]], Any]], ...] = (
    ("statefulset", "mail-push-main", {"spec": {"replicas": 7}}, lambda body: body["spec"]["replicas"]),
    (
        "statefulset",
        "mail-push-main",
        {"spec": {"template": {"spec": {"enableServiceLinks": True}}}},
        lambda body: body["spec"]["template"]["spec"]["enableServiceLinks"],
    ),
    ("service", "mail-push-main", {"spec": {"selector": {"app": "x"}}}, lambda body: body["spec"]["selector"]),
    (
        "service",
        "mail-push-main-pods",
        {"spec": {"publishNotReadyAddresses": False}},
        lambda body: body["spec"]["publishNotReadyAddresses"],
    ),
    (
        "configmap",
        "mail-push-main-properties",
        {"data": {"mail-push.properties": "com.openexchange.push.allowPermanentPush=false"}},
        lambda body: body["data"],
    ),
    ("configmap", "mail-push-main-properties", {"data": {"more.properties": "a=b"}}, lambda body: body["data"]),
    (
        "configmap",
        "mail-push-main-properties",
        {"metadata": {"annotations": {names.CONFIG_HASH_ANNOTATION: "0"}}},
        lambda body: body["metadata"]["annotations"][names.CONFIG_HASH_ANNOTATION],
    ),
    ("secret", "mail-push-main-secrets", {"data": {"mail-push-secrets.properties": ""}}, lambda body: body["data"]),
    ("secret", "mail-push-main-internal", {"data": {"handover.key": None}}, lambda body: bool(body.get("data"))),
    (*INTERNAL, {"data": {"hash.key": None}}, lambda body: "hash.key" in body["data"]),
    ("secret", "mail-push-main-callback", {"data": {"password": ""}}, lambda body: bool(body["data"]["password"])),
    ("serviceaccount", "mail-push-main-listener", {"metadata": {"labels": None}}, own_labels),
    ("rolebinding", "mail-push-main-listener", {"subjects": []}, lambda body: body.get("subjects")),
    (
        "poddisruptionbudget",
        "mail-push-main",
        {"spec": {"maxUnavailable": 5}},
        lambda body: body["spec"]["maxUnavailable"],
    ),
)


@pytest.mark.parametrize(("kind", "name", "patch", "look"), EDITS)
def test_an_edited_child_is_put_right(
    site: OperatorSite, kind: str, name: str, patch: dict[str, Any], look: Callable[[dict[str, Any]], Any]
) -> None:
    settle(site)
    before = wait_for("the child", lambda: site.namespace.get(kind, name))
    site.namespace.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(patch))

    def right() -> Any:
        found = site.namespace.get(kind, name) or {"metadata": {}}
        try:
            return (
                bool(look(found) == look(before))
                and found["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
            )
        except KeyError:
            return False

    wait_for(f"{kind} {name} is put right", right)


LONG_AGO = f"{names.KEY_STEP_ANNOTATION}=2020-01-01T00:00:00Z"


def test_the_key_of_the_hand_over_is_rotated_and_the_configuration_keeps_its_hash(site: OperatorSite) -> None:
    settle(site)
    first = wait_for("the keys", lambda: site.namespace.get(*INTERNAL))["data"]
    config_hash = site.namespace.written_hash()

    def after_step(*files: str) -> dict[str, str]:
        """The keys once the step that is due has been made."""
        site.namespace.kubectl("annotate", "--overwrite", *INTERNAL, LONG_AGO)

        def stepped() -> dict[str, str] | None:
            data: dict[str, str] = (site.namespace.get(*INTERNAL) or {}).get("data", {})
            return data if set(data) == {names.INTERNAL_KEY_FILE, names.HASH_KEY_FILE, *files} else None

        found: dict[str, str] = wait_for(f"the step to {files}", stepped)
        return found

    announced = after_step(names.NEXT_KEY_FILE)
    assert announced[names.INTERNAL_KEY_FILE] == first[names.INTERNAL_KEY_FILE]
    promoted = after_step(names.PREVIOUS_KEY_FILE)
    assert promoted[names.INTERNAL_KEY_FILE] == announced[names.NEXT_KEY_FILE]
    assert promoted[names.PREVIOUS_KEY_FILE] == first[names.INTERNAL_KEY_FILE]
    retired = after_step()
    assert retired[names.INTERNAL_KEY_FILE] == announced[names.NEXT_KEY_FILE] != first[names.INTERNAL_KEY_FILE]
    assert retired[names.HASH_KEY_FILE] == first[names.HASH_KEY_FILE]
    settle(site)
    assert site.namespace.written_hash() == config_hash


def test_a_role_binding_to_another_role_is_made_anew(site: OperatorSite) -> None:
    found = wait_for("the binding", lambda: site.namespace.get("rolebinding", "mail-push-main-listener"))
    site.namespace.kubectl("delete", "rolebinding", "mail-push-main-listener")
    found["metadata"] = {"name": found["metadata"]["name"], "labels": found["metadata"]["labels"]}
    found["roleRef"]["name"] = "view"
    site.namespace.plane.kubectl("-n", site.namespace.name, "create", "-f", "-", input=json.dumps(found))

    def right() -> bool:
        binding = site.namespace.get("rolebinding", "mail-push-main-listener") or {"roleRef": {}}
        return bool(binding["roleRef"].get("name") == "mail-push-listener")

    wait_for("the right role", right)


def test_the_property_files_are_those_of_the_spec_and_hold_no_secret(site: OperatorSite) -> None:
    config_map = wait_for("it", lambda: site.namespace.get("configmap", "mail-push-main-properties"))
    secret = wait_for("it", lambda: site.namespace.get("secret", "mail-push-main-secrets"))
    push = load(config_map["data"]["mail-push.properties"])
    assert push["com.openexchange.push.allowPermanentPush"] == "true"
    assert load(config_map["data"]["dovecot-push.properties"])["com.openexchange.push.dovecot.enabled"] == "true"
    assert "the-master-password" not in json.dumps(config_map)
    secrets = load(base64.b64decode(secret["data"]["mail-push-secrets.properties"]).decode())
    assert secrets["com.openexchange.mail.masterPassword"] == "the-master-password"
    wait_for("the status tells of them", lambda: told(site))


def test_a_change_of_a_secret_or_of_the_spec_reaches_the_files(site: OperatorSite) -> None:
    settle(site)
    before = site.namespace.written_hash()
    boot = boot_config_map(site)
    site.secret("master", password="another")
    changed = wait_for("another hash", lambda: hash_other_than(site, before))
    site.config(allowedClients=["phone*"])
    wait_for("another hash", lambda: hash_other_than(site, changed))
    wait_for("the status tells of the whole", lambda: told(site))
    assert boot_config_map(site) == boot, "nothing of this takes a restart"
    site.config()
    site.secret("master", password="the-master-password")
    wait_for("the first hash", lambda: told(site) and not hash_other_than(site, before))


def hash_other_than(site: OperatorSite, hash_: str) -> str | None:
    found: str | None = status_of(site).get("configHash")
    return found if found != hash_ else None


def test_a_setting_that_needs_a_restart_rolls_the_pods_and_the_old_boot_config_map_stays_as_long_as_they_use_it(
    site: OperatorSite,
) -> None:
    settle(site)
    before = boot_config_map(site)
    wait_for("the operator has seen pods with it", lambda: status_of(site)["listeners"]["pods"] == 2)
    assert len(pods_with(site, before)) == 2
    site.config(redis={"url": "redis://redis:6379/0"})
    changed = wait_for("another boot ConfigMap", lambda: boot if (boot := boot_config_map(site)) != before else None)
    wait_for("the status tells it", lambda: changed.endswith(f"-boot-{status_of(site)['bootHash']}"))
    pods = wait_for("the pods are replaced", lambda: found if len(found := pods_with(site, changed)) == 2 else [])
    settle(site)
    assert site.namespace.get("configmap", before), "no new pod is ready yet, so an old one may come again"
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    for pod in pods:
        site.namespace.kubectl("patch", "pod", pod, "--subresource=status", "-p", json.dumps(ready))
    wait_for("nobody needs the former one", lambda: site.namespace.get("configmap", before) is None)
    site.config()
    wait_for("the first one again", lambda: boot_config_map(site) == before and told(site))


def pods_with(site: OperatorSite, boot: str) -> list[str]:
    """The pods that mount this boot ConfigMap."""
    pods = site.namespace.list("pods", f"{names.CONFIG_LABEL}=main")
    return [pod["metadata"]["name"] for pod in pods if f'"{boot}"' in json.dumps(pod["spec"]["volumes"])]


def status_of(site: OperatorSite, name: str = "main") -> dict[str, Any]:
    found: dict[str, Any] = (site.namespace.get("mpc", name) or {}).get("status", {})
    return found


def test_what_becomes_of_packages_is_told_with_the_reason_of_each_in_status_and_describe(site: OperatorSite) -> None:
    dovecot, rest = "open-xchange-push-dovecot", "open-xchange-rest"
    site.config("conflict", packages={"status": {dovecot: "enabled", rest: "disabled"}})
    said = site.wait_condition("mpc", "conflict", "Ready", status="False", reason="PackageConflict")
    why = f"it needs {rest}, but packages.status.{rest} is disabled; enable {rest} or disable {dovecot}"
    assert why in said["message"]
    assert site.condition("mpc", "conflict", "ConfigurationValid")["reason"] == "PackageConflict"
    states = {one["name"]: (one["status"], one["reason"]) for one in status_of(site, "conflict")["packages"]}
    assert states[dovecot] == ("disabled", why)
    assert states[rest] == ("disabled", f"packages.status.{rest} is disabled")
    described = " ".join(site.namespace.kubectl("describe", "mpc", "conflict").split())
    assert f"Name: {dovecot} Reason: {why} Status: disabled" in described
    site.config("conflict", packages={"status": {rest: "disabled"}, "whitelist": [dovecot]})
    site.wait_condition("mpc", "conflict", "ConfigurationValid", status="True")
    states = {one["name"]: (one["status"], one["reason"]) for one in status_of(site, "conflict")["packages"]}
    assert states[dovecot] == ("enabled", "packages.whitelist names it")
    assert states[rest] == ("enabled", f"{dovecot} needs it")
    site.namespace.kubectl("delete", "mpc", "conflict")


def test_kubectl_mailpush_render_prints_what_the_listeners_are_given_and_no_secret(
    site: OperatorSite, tmp_path: Path
) -> None:
    settle(site)
    config_map = site.namespace.get("configmap", "mail-push-main-properties") or {}
    printed = render(site, "main")
    for name, text in config_map["data"].items():
        assert f"==> {name} <==\n{text}" in printed.stdout
    assert "com.openexchange.mail.masterPassword=<Secret master, key password>" in printed.stdout
    assert "the-master-password" not in printed.stdout + printed.stderr
    assert "the listeners run by another" not in printed.stderr

    render(site, "main", "-o", str(tmp_path))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()}.keys() == {
        *config_map["data"],
        names.BOOT_PROPERTIES,
    }
    render(site, "main", "-o", str(tmp_path), "--with-secrets")
    secret = tmp_path / names.SECRET_PROPERTIES
    assert load(secret.read_text())["com.openexchange.mail.masterPassword"] == "the-master-password"
    assert secret.stat().st_mode & 0o077 == 0

    missing = render(site, "mian", code=2)
    assert f"there is no MailPushConfig mian in namespace {site.namespace.name} (there: main" in missing.stderr


def render(site: OperatorSite, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "kubectl-mailpush"), "render", *arguments, "-n", site.namespace.name]
    kubeconfig = ["--kubeconfig", str(site.namespace.plane.kubeconfig)]
    done = subprocess.run([*command, *kubeconfig], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    return done


CONDITIONS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"mailAccess": None}, "MailAccessMissing", "mailAccess.servers"),
    ({"credentialStorage": {"enabled": True, "passcryptSecretRef": {"name": "nowhere", "key": "password"}}},
     "SecretNotFound", "credentialStorage.passcryptSecretRef"),
    ({"mechanisms": {"imapidle": {"accountId": 1}}}, "NotYetSupported", "mechanisms.imapidle.accountId"),
    ({"redis": {"url": "redis://redis/0", "passwordSecretRef": {"name": "nowhere", "key": "password"}}},
     "SecretNotFound", "redis.passwordSecretRef"),
    ({"redis": {"url": "redis://redis/0", "passwordSecretRef": {"name": "foreign", "key": "password"}}},
     "SecretNotPermitted", "redis.passwordSecretRef"),
)  # fmt: skip


@pytest.mark.parametrize(("change", "reason", "field"), CONDITIONS)
def test_what_is_missing_is_named_and_nothing_is_started(
    site: OperatorSite, change: dict[str, Any], reason: str, field: str
) -> None:
    site.secret("foreign", permitted=False, password="not for you")
    site.config("other", **change)
    said = site.wait_condition("mpc", "other", "Ready", status="False", reason=reason)
    assert field in said["message"]
    assert site.condition("mpc", "other", "ConfigurationValid")["reason"] == reason
    stateful_set = wait_for("it", lambda: site.namespace.get("statefulset", "mail-push-other"))
    assert stateful_set["spec"]["replicas"] == 0
    site.namespace.kubectl("delete", "mpc", "other")
    wait_for("its children go", lambda: site.namespace.get("statefulset", "mail-push-other") is None)


def test_a_secret_that_becomes_permitted_is_used_at_once(site: OperatorSite) -> None:
    site.secret("late", permitted=False, password="x")
    site.config("other", redis={"url": "redis://redis/0", "passwordSecretRef": {"name": "late", "key": "password"}})
    site.wait_condition("mpc", "other", "Ready", reason="SecretNotPermitted")
    site.namespace.kubectl("label", "secret", "late", f"{names.USE_LABEL}=redis", "--overwrite")
    site.wait_condition("mpc", "other", "ConfigurationValid", status="True")
    site.namespace.kubectl("delete", "mpc", "other")
    wait_for("its children go", lambda: site.namespace.get("statefulset", "mail-push-other") is None)


def test_a_running_configuration_is_kept_when_a_secret_of_the_new_one_is_missing(site: OperatorSite) -> None:
    settle(site)
    before = site.namespace.get("configmap", "mail-push-main-properties") or {}
    broken = {"passwordSource": "global", "masterPasswordSecretRef": {"name": "nowhere", "key": "password"}}
    site.config(mailAccess={**broken, "servers": [{"host": "elsewhere"}]})
    site.wait_condition("mpc", "main", "Ready", reason="SecretNotFound")
    after = site.namespace.get("configmap", "mail-push-main-properties") or {}
    assert after["data"] == before["data"]
    assert (site.namespace.get("statefulset", "mail-push-main") or {})["spec"]["replicas"] == 2
    site.config()
    site.wait_condition("mpc", "main", "ConfigurationValid", status="True")


def test_nothing_is_written_when_nothing_changes(site: OperatorSite) -> None:
    """A reconcile that is asked for changes no object: else its own events would keep it going for ever."""

    def versions() -> dict[str, Any]:
        return {f"{kind}/{name}": version(site, kind, name) for kind, name in CHILDREN}

    settle(site)
    before = versions()
    site.namespace.kubectl("annotate", "mpc", "main", "example.org/poke=1")
    poked = site.namespace.get("mpc", "main") or {}
    site.config(notification={"content": "none"})
    wait_for(
        "a reconcile",
        lambda: versions()["configmap/mail-push-main-properties"] != before["configmap/mail-push-main-properties"],
    )
    assert poked["metadata"]["annotations"]["example.org/poke"] == "1"
    site.config()
    wait_for(
        "back",
        lambda: (
            load(
                (site.namespace.get("configmap", "mail-push-main-properties") or {})["data"][
                    "mail-push-listener.properties"
                ]
            )["mailpush.notification.content"]
            == "headers"
            and told(site)
        ),
    )
    untouched = {"configmap/mail-push-main-properties"}
    after = versions()
    assert {key: value for key, value in after.items() if key not in untouched} == {
        key: value for key, value in before.items() if key not in untouched
    }


def version(site: OperatorSite, kind: str, name: str) -> Any:
    """Changes with every write to the object, except those by which its controller tells a status."""
    body = json.loads(site.namespace.kubectl("get", kind, name, "-o", "json", "--show-managed-fields"))
    if kind not in ("statefulset", "poddisruptionbudget"):
        return body["metadata"]["resourceVersion"]
    writes = [write for write in body["metadata"]["managedFields"] if "subresource" not in write]
    return body["metadata"]["uid"], body["metadata"]["generation"], writes
