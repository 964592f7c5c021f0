"""`mail-push cleanup`: before the operator is taken away, so that nothing it made is left hanging.

PushUsers are the site's data and stay: an installation that comes back finds them. What must not stay is a registration
at Dovecot, which would call a Service that is gone, and a finalizer that nobody would remove.
"""

import asyncio
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kubernetes.aio.config import ConfigException

from mailpush import names
from mailpush.api.mailpushconfig import LEAVE
from mailpush.cli.apply import MANAGER, instance_of
from mailpush.cli.finalizers import registered, take_off
from mailpush.cli.uninstalling import Release, being_removed
from mailpush.kube import leftovers, resources
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import KubeError, NotFoundError

UNREGISTER: Final = {"metadata": {"annotations": {names.UNREGISTER_ANNOTATION: names.UNREGISTER_UNINSTALLED}}}
LOOK_SECONDS: Final = 1.0


def run(namespace: str, wait_seconds: int, release: Release | None, *, sure: bool) -> int:
    """The exit code: 0 also where users could not be unregistered in time, as the uninstall has to go on.

    Args:
        release: whose MailPushConfigs are meant; None: all of the namespace.
        sure: the installation is being removed; else its Deployment and the Job have to say so.
    """
    try:
        return asyncio.run(_run(namespace, wait_seconds, release, sure=sure))
    except NotFoundError:
        sys.stdout.write("the CustomResourceDefinitions are not there: nothing to do\n")
        return 0
    except (KubeError, ConfigException) as error:
        sys.stderr.write(f"mail-push cleanup: {error}\n")
        return 1


async def _run(namespace: str, wait_seconds: float, release: Release | None, *, sure: bool) -> int:
    kubeconfig = os.environ.get("KUBECONFIG")
    async with await Kube.connect(Path(kubeconfig) if kubeconfig else None) as kube:
        if release is not None and not sure:
            deployment = await kube.find(resources.DEPLOYMENT, release.home, release.deployment)
            answer = being_removed(release, deployment, await kube.find(resources.JOB, release.home, release.job))
            (sys.stderr if answer.code else sys.stdout).write(f"mail-push cleanup: {answer.sentence}\n")
            if not answer.go:
                return answer.code
        return await _cleanup(kube, namespace, wait_seconds, release.name if release is not None else None)


async def _cleanup(kube: Kube, namespace: str, wait_seconds: float, release: str | None) -> int:
    present, _ = await kube.list(resources.MAIL_PUSH_CONFIG, namespace)
    lease = await kube.find(resources.LEASE, namespace, names.OPERATOR_LEASE)
    configs = [config for config in present if is_of(config, release, alone=not is_anothers(lease, release))]
    others = {config["metadata"]["name"] for config in present if config not in configs}
    leaving = {config["metadata"]["name"] for config in configs if leaves(config)}
    for config in configs:
        if not leaves(config):
            await kube.merge_patch(resources.MAIL_PUSH_CONFIG, namespace, config["metadata"]["name"], UNREGISTER)
    patience = wait_seconds if len(configs) > len(leaving) else 0
    left = await _wait_unregistered(kube, namespace, others | leaving, patience)
    noted = await _note(kube, namespace, left)
    await take_off(kube, namespace, left, lambda _: None)
    for name in sorted(leaving):
        sys.stdout.write(f"the users of {name} stay registered at Dovecot: its deletionPolicy is Leave\n")
        users, _ = await kube.list(resources.PUSH_USER, namespace, label_selector=f"{names.CONFIG_LABEL}={name}")
        await take_off(kube, namespace, registered(users), lambda _: None)
    if left:
        some = ", ".join(sorted(user["metadata"]["name"] for user in left)[:10])
        sys.stderr.write(
            f"mail-push cleanup: {len(left)} users could not be unregistered at Dovecot in {wait_seconds:.0f} s "
            f"({some}): take the push notification driver out of Dovecot's configuration; {noted}\n"
        )
    for config in configs:
        await _put_away(kube, namespace, config)
    for name in sorted(others):
        sys.stdout.write(f"mailpushconfig.mailpush.dev/{name} stays: another release serves it\n")
    return 0


async def _note(kube: Kube, namespace: str, users: list[Object]) -> str:
    """Notes what stays registered, since this Job and its log go. Gives a sentence that says where."""
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entries = [entry for user in users for entry in leftovers.left_by(user, since)]
    try:
        await leftovers.change(kube, namespace, add=entries)
    except KubeError as error:
        return f"they could not be noted in ConfigMap {leftovers.NAME}: {error}"
    return f"ConfigMap {leftovers.NAME} keeps their mailboxes"


def leaves(config: Object) -> bool:
    """Whether the users of a MailPushConfig are to stay registered when it goes."""
    return bool((config.get("spec") or {}).get("deletionPolicy") == LEAVE)


def is_of(config: Object, release: str | None, *, alone: bool) -> bool:
    """Whether a MailPushConfig is served by the release: it bears its name, or nobody's where no other is there."""
    return release is None or instance_of(config) == release or (alone and instance_of(config) is None)


def is_anothers(lease: Object | None, release: str | None) -> bool:
    """Whether the namespace's Lease is that of another release's operator."""
    return lease is not None and instance_of(lease) not in (None, release)


async def _wait_unregistered(kube: Kube, namespace: str, others: set[str], wait_seconds: float) -> list[Object]:
    """The users that still have the finalizer when there is none left, or when the time is over.

    Not those of the MailPushConfigs that are named by `others`.
    """
    end = time.monotonic() + wait_seconds
    announced = -1
    while True:
        users, _ = await kube.list(resources.PUSH_USER, namespace)
        left = [user for user in registered(users) if user["spec"]["configRef"]["name"] not in others]
        if not left or time.monotonic() >= end:
            return left
        if len(left) != announced:
            sys.stdout.write(f"{len(left)} users are to be unregistered\n")
            sys.stdout.flush()
            announced = len(left)
        await asyncio.sleep(LOOK_SECONDS)


def made_by_chart(config: dict[str, Any]) -> bool:
    """Whether `mail-push apply` has made it: only that is deleted with the installation."""
    return any(entry.get("manager") == MANAGER for entry in config["metadata"].get("managedFields") or ())


async def _put_away(kube: Kube, namespace: str, config: Object) -> None:
    name = config["metadata"]["name"]
    if made_by_chart(config):
        try:
            await kube.delete(resources.MAIL_PUSH_CONFIG, namespace, name, uid=config["metadata"]["uid"])
        except NotFoundError:
            return
        sys.stdout.write(f"mailpushconfig.mailpush.dev/{name} deleted\n")
    else:
        sys.stdout.write(
            f"mailpushconfig.mailpush.dev/{name} stays, as the chart did not make it; its users stay unregistered "
            f"until the chart is installed again or you say: kubectl annotate mailpushconfig {name} "
            f"{names.UNREGISTER_ANNOTATION}-\n"
        )
