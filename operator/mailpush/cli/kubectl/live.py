"""The evidence on one user from a cluster, with the rights of whoever asks."""

from collections.abc import Awaitable
from pathlib import Path

from mailpush import names
from mailpush.cli.kubectl.cluster import ask
from mailpush.cli.kubectl.evidence import Evidence, choose, config_of, secret_names
from mailpush.cli.kubectl.manifests import Object, Trouble
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ForbiddenError, NotFoundError
from mailpush.kube.resources import Resource


def from_cluster(
    context_id: int,
    user_id: int,
    *,
    config: str | None,
    namespace: str,
    kubeconfig: Path | None,
    context: str | None,
) -> Evidence:
    """
    Raises:
        Trouble: no cluster, no custom resources, no right to read them, or no such user.
    """
    return ask(
        _collect(Kube.connect(kubeconfig, context=context), context_id, user_id, config, namespace),
        without="explain files with -f",
    )


async def _collect(
    connecting: Awaitable[Kube], context_id: int, user_id: int, config: str | None, namespace: str
) -> Evidence:
    async with await connecting as kube:
        user = await _user(kube, context_id, user_id, config, namespace)
        found = await _get(kube, resources.MAIL_PUSH_CONFIG, namespace, config_of(user))
        shard_map = await _get(kube, resources.SHARD_MAP, namespace, config_of(user))
        secrets: dict[str, Object | None] = {}
        unread: set[str] = set()
        for name in sorted(secret_names(user, found)):
            try:
                secrets[name] = await _get(kube, resources.SECRET, namespace, name)
            except ForbiddenError:
                unread.add(name)
        return Evidence(user, found, secrets, frozenset(unread), shard_map, live=True)


async def _user(kube: Kube, context_id: int, user_id: int, config: str | None, namespace: str) -> Object:
    if config is not None:
        user = await _get(kube, resources.PUSH_USER, namespace, names.push_user_name(config, context_id, user_id))
        if user is not None:
            return user
    try:
        of_context, _ = await kube.list(resources.PUSH_USER, namespace, field_selector=f"spec.contextId={context_id}")
        if not any(user["spec"]["userId"] == user_id for user in of_context):
            of_context, _ = await kube.list(resources.PUSH_USER, namespace)  # for the names that are near
    except NotFoundError:
        raise Trouble(
            "this cluster does not know PushUsers: install Mail Push's CustomResourceDefinitions (docs/install.md), "
            "or choose another cluster with --context"
        ) from None
    try:
        return choose(of_context, context_id, user_id, config)
    except Trouble as trouble:
        raise Trouble(f"{trouble} (namespace {namespace}; another one: -n)") from None


async def _get(kube: Kube, resource: Resource, namespace: str, name: str) -> Object | None:
    try:
        return await kube.get(resource, namespace, name)
    except NotFoundError:
        return None
