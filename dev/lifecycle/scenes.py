"""The scenes of a release's life, in their order: each leaves the site as the next one needs it."""

from collections.abc import Callable
from dataclasses import dataclass

import yaml

from dev.demo import users
from dev.demo.site import NAMESPACE, listening, wait_for
from dev.lifecycle.stage import CHART, EXAMPLE, RELEASE, Stage
from dev.lifecycle.troubles import wrong_servers_and_secrets


@dataclass(frozen=True)
class Scene:
    """What happens, by the name that the table and the command line use."""

    name: str
    what: str
    play: Callable[[Stage], None]


MAIN_LOGINS = tuple(user.login for user in users.LISTENING if user.config == "main")
MAIN = tuple(user for user in users.LISTENING if user.config == "main")


def install(stage: Stage) -> None:
    """README's steps; the operator makes the callback Secret that Dovecot waits for."""
    stage.prepare()
    code, printed = stage.install("helm4")
    stage.verdict.step("helm 4 installs with examples/values.yaml", code == 0, printed[-300:] if code else "")
    stage.site.second_config()
    stage.settle()
    stage.show()
    stage.tell("after the install")
    stage.verdict.step("the entries at Dovecot are seen", stage.registered() == set(MAIN_LOGINS))


def upgrade(stage: Stage) -> None:
    """More replicas by Helm 4, back by its rollback, and the same upgrade by Helm 3."""
    before = stage.site.lives()
    more = {"mailPushConfig": {"spec": {"listeners": {"replicas": 5}}}}
    for version, values, replicas in (("helm4", more, 5), ("helm3", more, 5)):
        code, printed = stage.upgrade(version, values)  # type: ignore[arg-type]  # the literals of the tuple
        good = code == 0 and _replicas(stage) == replicas
        stage.verdict.step(f"{version} upgrades to {replicas} pods", good, "" if good else printed[-300:])
        stage.all_as_expected()
        stage.tell(f"after {version}'s upgrade")
        code, printed = stage.helm(version, "rollback", RELEASE, "1", "--wait", "--timeout=300s")  # type: ignore[arg-type]
        good = code == 0 and _replicas(stage) == 4
        stage.verdict.step(f"{version} rolls back to 4 pods", good, "" if good else printed[-300:])
        stage.ends(f"{version}'s rollback", lambda: len(_main_pods(stage)) == 4)
        stage.all_as_expected()
        stage.tell(f"after {version}'s rollback")
    kept = {name: life for name, life in stage.site.lives().items() if name in before}
    stage.verdict.step("no pod that stays was restarted", kept == before)


def _replicas(stage: Stage) -> int:
    count: int = stage.site.get("mailpushconfig", "main")["spec"]["listeners"]["replicas"]
    return count


def _main_pods(stage: Stage) -> list[str]:
    return [name for name in stage.site.listener_pods() if name.startswith("mail-push-main-")]


def second_release(stage: Stage) -> None:
    """A second release in the same namespace is refused with a sentence, and taking it away harms nobody."""
    values = {**stage.image_values(), "crds": {"install": False}}
    code, printed = stage.helm(
        "helm4", "install", "second", CHART, "--values", EXAMPLE, "--wait", "--timeout=60s", values=values
    )
    named = RELEASE in printed and NAMESPACE in printed
    stage.verdict.step("a second release is refused", code != 0, printed[-300:] if code == 0 else "")
    stage.verdict.step("the refusal names the first", named, "" if named else printed[-300:])
    stage.helm("helm4", "uninstall", "second", "--wait", "--timeout=120s")
    stage.verdict.step(
        "the first has its MailPushConfig", "main" in stage.site.kubectl("get", "mailpushconfigs", "-o", "name")
    )
    stage.all_as_expected()
    stage.tell("after the second release's end")


def applied_without_hooks(stage: Stage) -> None:
    """`helm template | kubectl apply`, twice, as kustomize, Flux and Argo CD would: nothing is taken away."""
    for round_ in ("first", "second"):
        code, rendered = stage.helm(
            "helm4", "template", RELEASE, CHART, "--values", EXAMPLE, values=stage.image_values()
        )
        if not stage.verdict.step("helm template renders", code == 0, rendered[-300:] if code else ""):
            return
        # A Job cannot be changed: whoever applies it anew replaces it.
        stage.site.kubectl("delete", "jobs", "--all", "--wait=true")
        stage.site.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=rendered)
        ended = stage.ends(f"the Jobs of the {round_} kubectl apply", lambda: _jobs_ended(stage))
        if not ended:
            stage.verdict.step("the Jobs' log", False, stage.logs("job/mail-push-cleanup")[-300:])
        stage.verdict.step(
            f"the MailPushConfig outlives the {round_} kubectl apply",
            "main" in stage.site.kubectl("get", "mailpushconfigs", "-o", "name"),
        )
        stage.all_as_expected()
        stage.tell(f"after the {round_} kubectl apply")
    stage.site.kubectl("delete", "jobs", "--all", "--wait=true")


def _jobs_ended(stage: Stage) -> bool:
    jobs = stage.site.get("jobs")["items"]
    return all(
        any(
            one["type"] in {"Complete", "Failed"} and one["status"] == "True"
            for one in job["status"].get("conditions", ())
        )
        for job in jobs
    )


def login_changed(stage: Stage) -> None:
    """A user gets another mailbox: the old one's entry goes, and mail to its owner is announced to nobody else."""
    user, other = MAIN[1], users.SPARE
    stage.site.kubectl("patch", "pushuser", user.name, "--type=merge", "-p", f'{{"spec":{{"login":"{other}"}}}}')
    stage.ends(
        "the move to the new mailbox",
        lambda: other in stage.registered() and listening(stage.site.push_users()[user.name]),
    )
    stage.no_orphans("after the changed login", {*MAIN_LOGINS, other} - {user.login})
    before = len(stage.notified(user.user_id))
    stage.mails.deliver(user)  # to the old login
    rest = tuple(one for one in MAIN if one != user)
    stage.tell("beside the changed login", rest)
    stage.verdict.add("strangers", len(stage.notified(user.user_id)) - before)
    stage.verdict.step("a mail to the old mailbox is announced to nobody", len(stage.notified(user.user_id)) == before)
    stage.site.register()
    stage.all_as_expected()
    stage.no_orphans("after the login came back", MAIN_LOGINS)
    stage.tell("after the login came back")


def duplicate_login(stage: Stage) -> None:
    """A second push user of one mailbox is not registered, and its end silences nobody."""
    user = MAIN[2]
    double = users.DemoUser("main", 900)
    manifest = double.manifest()
    spec = manifest["spec"]
    assert isinstance(spec, dict)
    spec["login"] = user.login
    stage.site.apply(manifest)
    stage.ends(
        "DuplicateLogin",
        lambda: stage.site.push_users()[double.name].get("status", {}).get("reason") == "DuplicateLogin",
    )
    stage.tell("beside a duplicate")
    stage.site.kubectl("delete", "pushuser", double.name, "--timeout=60s")
    stage.tell("after the duplicate's end")


def reinstalled(stage: Stage) -> None:
    """Uninstall by Helm 4, install by Helm 3: mails are told again without anybody touching Dovecot."""
    stage.site.kubectl("delete", "mailpushconfig", "idle", "--timeout=120s")
    password = stage.site.get("secret", "mail-push-main-callback")["data"]["password"]
    code, printed = stage.helm("helm4", "uninstall", RELEASE, "--wait", "--timeout=300s")
    stage.verdict.step("helm 4 uninstalls", code == 0, printed[-300:] if code else "")
    stage.no_orphans("after the uninstall", ())
    code, printed = stage.install("helm3")
    stage.verdict.step("helm 3 installs", code == 0, printed[-300:] if code else "")
    stage.site.second_config()
    stage.site.put_credentials()
    stage.all_as_expected()
    again = stage.site.get("secret", "mail-push-main-callback")["data"]["password"]
    stage.verdict.step("the callback's password is what it was", again == password)
    stage.tell("after uninstall and install")


def namespaces(stage: Stage) -> None:
    """A namespace with users is deleted: with the operator in it, with one elsewhere, and with none."""
    _delete_namespace(stage, "the namespace with its operator")
    _forget(stage)
    stage.prepare()
    values = {
        **stage.image_values(),
        "watchNamespaces": [NAMESPACE],
        "crds": {"install": False},
        "admin": {"enabled": False},
        "mailPushConfig": {"create": False},
    }
    stage.site.kubectl("create", "namespace", "push-system")
    code, printed = stage.helm(
        *("helm4", "install", RELEASE, CHART, "--values", EXAMPLE, "--wait", "--timeout=300s"),
        namespace="push-system",
        values=values,
    )
    stage.verdict.step("an operator elsewhere is installed", code == 0, printed[-300:] if code else "")
    example = yaml.safe_load(EXAMPLE.read_text())
    stage.site.apply(
        {
            "apiVersion": "mailpush.dev/v1alpha1",
            "kind": "MailPushConfig",
            "metadata": {"name": "main"},
            "spec": {**example["mailPushConfig"]["spec"], "packages": example["core-mw"]["packages"]},
        }
    )
    stage.site.second_config()
    stage.settle()
    stage.tell("with an operator elsewhere")
    _delete_namespace(stage, "the namespace with its operator elsewhere")
    stage.site.kubectl("delete", "deployment", "--all", "--namespace=push-system")
    stage.site.kubectl("create", "namespace", NAMESPACE)
    stage.site.apply(*(_with_finalizer(user.manifest()) for user in users.USERS))
    stage.site.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    _documented_command(stage)
    stage.ends("the namespace without an operator, with the documented command", stage.namespace_gone)


def _delete_namespace(stage: Stage, what: str) -> None:
    stage.site.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    if not stage.ends(what, stage.namespace_gone):
        _documented_command(stage)
        wait_for("the namespace is gone, after the documented command", stage.namespace_gone)


def _documented_command(stage: Stage) -> None:
    """docs/uninstall.md's for a namespace whose operator is gone."""
    patch = '{"metadata":{"finalizers":null}}'
    for name in stage.site.kubectl("get", "pushusers", "-o", "name").split():
        stage.site.kubectl("patch", name, "--type=merge", "-p", patch)


def _forget(stage: Stage) -> None:
    """What is the cluster's and outlives the namespace: a new release in another namespace would not be its owner."""
    for kind in ("clusterrole", "clusterrolebinding", "validatingadmissionpolicy", "validatingadmissionpolicybinding"):
        stage.site.kubectl("delete", kind, "-l", f"app.kubernetes.io/instance={RELEASE}", "--ignore-not-found")


def _with_finalizer(manifest: dict[str, object]) -> dict[str, object]:
    metadata = manifest["metadata"]
    assert isinstance(metadata, dict)
    metadata["finalizers"] = ["mailpush.dev/registration"]
    return manifest


SCENES = (
    Scene("install", "Helm 4 installs from README's commands", install),
    Scene("upgrade", "upgrade and rollback by Helm 4 and by Helm 3", upgrade),
    Scene("second", "a second release in the namespace", second_release),
    Scene("apply", "helm template | kubectl apply, twice", applied_without_hooks),
    Scene("login", "a user's login is changed, and changed back", login_changed),
    Scene("duplicate", "two push users of one mailbox", duplicate_login),
    Scene("troubles", "wrong servers and Secrets, one after another", wrong_servers_and_secrets),
    Scene("reinstall", "Helm 4 uninstalls, Helm 3 installs", reinstalled),
    Scene("namespace", "the namespace is deleted with its users, three ways", namespaces),
)
