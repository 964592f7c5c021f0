"""`kubectl mailpush resync`: asks the owning pods to look at the mail server again."""

import asyncio
import sys
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from mailpush import names
from mailpush.cli.kubectl.cluster import ask
from mailpush.cli.kubectl.kubeconfig import files_of, namespace_of
from mailpush.cli.kubectl.manifests import Trouble
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import NotFoundError

AT_A_TIME: Final = 8


def run(
    users: tuple[str, ...],
    *,
    config: str | None,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> int:
    """Asks for `users`, or for all where none is named. The exit code: 1 where one of them does not exist, 2 where
    nothing could be asked."""
    try:
        chosen = namespace or namespace_of(files_of(kubeconfig), context)
        connecting = Kube.connect(Path(kubeconfig) if kubeconfig else None, context=context)
        asked, missing = ask(_resync(connecting, chosen, users, config), without="annotate the PushUsers by kubectl")
    except Trouble as trouble:
        sys.stderr.write(f"{trouble}\n")
        return 2
    for name in missing:
        sys.stderr.write(f"there is no PushUser {name} in namespace {chosen}\n")
    sys.stdout.write(f"{asked} users are looked at again: kubectl get pushusers -n {chosen} shows what comes of it\n")
    return 1 if missing else 0


async def _resync(
    connecting: Awaitable[Kube], namespace: str, users: tuple[str, ...], config: str | None
) -> tuple[int, list[str]]:
    async with await connecting as kube:
        if not users:
            selector = f"{names.CONFIG_LABEL}={config}" if config else None
            found, _ = await kube.list(resources.PUSH_USER, namespace, label_selector=selector)
            users = tuple(user["metadata"]["name"] for user in found)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        missing: list[str] = []
        turns = asyncio.Semaphore(AT_A_TIME)

        async def one(name: str) -> None:
            body = {"metadata": {"annotations": {names.RESYNC_ANNOTATION: now}}}
            async with turns:
                try:
                    await kube.merge_patch(resources.PUSH_USER, namespace, name, body)
                except NotFoundError:
                    missing.append(name)

        await asyncio.gather(*(one(name) for name in users))
        return len(users) - len(missing), sorted(missing)
