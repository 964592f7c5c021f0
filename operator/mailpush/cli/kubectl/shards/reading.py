"""A fleet from a cluster, with the rights of whoever asks."""

from collections.abc import Sequence
from pathlib import Path

from mailpush import names
from mailpush.api.conditions import find
from mailpush.cli.kubectl.cluster import ask, chosen_config
from mailpush.cli.kubectl.kubeconfig import files_of, namespace_of
from mailpush.cli.kubectl.manifests import Object
from mailpush.cli.kubectl.shards.fleet import Fleet, fleet_of
from mailpush.kube import resources
from mailpush.kube.client import Kube
from mailpush.sharding.slots import SLOTS, slot_of


def fleet(
    name: str | None, *, namespace: str | None, kubeconfig: str | None, context: str | None, users: bool
) -> Fleet:
    """What there is of a MailPushConfig, the only one of the namespace where none is named. `users`: read them, too.

    Raises:
        Trouble: no cluster, no such MailPushConfig, or no right to read what is needed.
    """
    chosen = namespace or namespace_of(files_of(kubeconfig), context)
    return ask(
        _read(Path(kubeconfig) if kubeconfig else None, context, chosen, name, users=users),
        without="see `kubectl get shardmaps` where there is one",
    )


async def _read(
    kubeconfig: Path | None, context: str | None, namespace: str, name: str | None, *, users: bool
) -> Fleet:
    async with await Kube.connect(kubeconfig, context=context) as kube:
        config = await chosen_config(kube, namespace, name, by="after the command")
        name = str(config["metadata"]["name"])
        selector = ",".join(f"{key}={value}" for key, value in names.listener_selector(name).items())
        # The users first, which takes longest: what pods say is to be as new as may be.
        weights = await _weights(kube, namespace, name) if users else None
        shard_map = await kube.find(resources.SHARD_MAP, namespace, name)
        stateful_set = await kube.find(resources.STATEFUL_SET, namespace, names.statefulset_name(name))
        pods, _ = await kube.list(resources.POD, namespace, label_selector=selector)
        leases, _ = await kube.list(resources.LEASE, namespace, label_selector=selector)
        return fleet_of(
            config,
            shard_map,
            pods=pods,
            leases=leases,
            stateful_set=stateful_set,
            now=await kube.server_time(),
            weights=weights,
        )


async def _weights(kube: Kube, namespace: str, config: str) -> Sequence[int]:
    """Users of each slot; page by page, so that a hundred thousand need no memory here."""
    weights = [0] * SLOTS
    async for page, _ in kube.pages(resources.PUSH_USER, namespace, label_selector=f"{names.CONFIG_LABEL}={config}"):
        for user in page:
            if weighs(user):
                weights[slot_of(user["spec"]["contextId"], user["spec"]["userId"])] += 1
    return weights


def weighs(user: Object) -> bool:
    """Whether a user counts when users are spread: the operator counts those who are to be listened for."""
    accepted = find((user.get("status") or {}).get("conditions") or (), "Accepted")
    return "deletionTimestamp" not in user["metadata"] and (accepted is None or accepted["status"] == "True")
