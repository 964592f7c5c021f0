"""`kubectl mailpush orphans`: registrations that nobody is left to take away, listed and taken away.

What takes them away is a pod: it has the way to the mail server and the password. So a PushUser that remembers the
registration comes back for as long as that lasts, suspended and without a client.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable
from hashlib import sha256
from pathlib import Path
from typing import Final

from mailpush import names
from mailpush.cli.kubectl.cluster import ask
from mailpush.cli.kubectl.kubeconfig import files_of, namespace_of
from mailpush.cli.kubectl.manifests import Object, Trouble
from mailpush.cli.kubectl.table import columns
from mailpush.kube import leftovers, resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import NotFoundError
from mailpush.kube.leftovers import LeftOver

LOOK_SECONDS: Final = 1.0
COLUMNS: Final = ("CONFIG", "CONTEXT", "USER", "SERVER", "LOGIN", "SINCE")


def run(
    *,
    take_away: bool,
    config: str | None,
    seconds: float,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> int:
    """The exit code."""
    try:
        chosen = namespace or namespace_of(files_of(kubeconfig), context)
        connecting = Kube.connect(Path(kubeconfig) if kubeconfig else None, context=context)
        left = ask(_orphans(connecting, chosen, take_away, config, seconds), without="read the ConfigMap by kubectl")
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        return 2
    if not left:
        sys.stdout.write(f"no registration is left over in namespace {chosen}\n")
        return 0
    for line in table(left):
        sys.stdout.write(f"{line}\n")
    return 1


def table(entries: list[LeftOver]) -> list[str]:
    """With a heading, in columns."""
    return columns(
        COLUMNS, [(e.config, str(e.context_id), str(e.user_id), e.server, e.login, e.since) for e in entries]
    )


async def _orphans(
    connecting: Awaitable[Kube], namespace: str, take_away: bool, config: str | None, seconds: float
) -> list[LeftOver]:
    async with await connecting as kube:
        entries = await leftovers.read(kube, namespace)
        if not take_away:
            return entries
        done = [entry for entry in entries if await _take_away(kube, namespace, entry, config, seconds)]
        await leftovers.change(kube, namespace, remove=done)
        return [entry for entry in entries if entry not in done]


async def _take_away(kube: Kube, namespace: str, entry: LeftOver, config: str | None, seconds: float) -> bool:
    config = config or entry.config
    if await kube.find(resources.MAIL_PUSH_CONFIG, namespace, config) is None:
        sys.stderr.write(f"there is no MailPushConfig {config}, whose pods could do it: name another with --config\n")
        return False
    name = names.push_user_name(config, entry.context_id, entry.user_id)
    user = await kube.find(resources.PUSH_USER, namespace, name)
    made = user is None
    if user is None:
        user = await kube.create(resources.PUSH_USER, namespace, _push_user(name, config, entry))
    elif any((one["server"], one["login"]) == (entry.server, entry.login) for one in _registrations(user).values()):
        return True  # it is remembered by the PushUser again, and either wanted or taken away because of that
    key = "left-" + sha256(repr(entry.key).encode()).hexdigest()[:16]
    one = {"server": entry.server, "address": entry.address, "login": entry.login, "value": entry.value}
    body = {"metadata": {"uid": user["metadata"]["uid"]}, "status": {"registrations": {key: one}}}
    await kube.merge_patch(resources.PUSH_USER, namespace, name, body, subresource="status")
    gone, said = await _wait(kube, namespace, name, key, seconds)
    if made:
        try:
            await kube.delete(resources.PUSH_USER, namespace, name, uid=user["metadata"]["uid"])
        except NotFoundError:
            pass
    if not gone:
        sys.stderr.write(f"{entry.login} at server {entry.server} is not unregistered: {said}\n")
    return gone


async def _wait(kube: Kube, namespace: str, name: str, key: str, seconds: float) -> tuple[bool, str]:
    """Whether the registration is gone in time, and else what the PushUser says."""
    end = time.monotonic() + seconds
    while True:
        user = await kube.find(resources.PUSH_USER, namespace, name)
        if user is None:
            return False, "its PushUser was deleted meanwhile"
        if key not in _registrations(user):
            return True, ""
        if time.monotonic() >= end:
            conditions = (user.get("status") or {}).get("conditions") or ()
            left = next((one["message"] for one in conditions if one["type"] == "RegistrationLeft"), None)
            return False, left or f"no pod has done it within {seconds:.0f} s"
        await asyncio.sleep(LOOK_SECONDS)


def _registrations(user: Object) -> dict[str, Object]:
    found: dict[str, Object] = (user.get("status") or {}).get("registrations") or {}
    return found


def _push_user(name: str, config: str, entry: LeftOver) -> Object:
    spec: Object = {
        "configRef": {"name": config},
        "contextId": entry.context_id,
        "userId": entry.user_id,
        "login": entry.login,
        "suspend": True,
    }
    if entry.secret is not None:
        spec["credentialsSecretRef"] = {"name": entry.secret}
    return {
        "apiVersion": names.API_VERSION,
        "kind": "PushUser",
        "metadata": {"name": name, "labels": {names.CONFIG_LABEL: config}},
        "spec": spec,
    }
