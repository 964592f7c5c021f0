"""Which pods run which configuration, and whether all run the one that is wanted. Pure."""

from typing import Any, Final

from mailpush import names
from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState, Pod
from mailpush.controller.status.pod import PodView

TYPE: Final = "ConfigurationRolledOut"
NAMED_PODS: Final = 5
MOST_ENTRIES: Final = 64
MOST_NAMES: Final = 16


def boot_hash_of(config: str, pod: Pod) -> str | None:
    """Hash of the boot ConfigMap that the pod was started with; None where it mounts none."""
    prefix = names.boot_configmap_name(config, "")
    return next((name.removeprefix(prefix) for name in sorted(pod.config_maps) if name.startswith(prefix)), None)


def config_pods(config: str, pods: tuple[PodView, ...]) -> list[dict[str, Any]]:
    """The pods by the two hashes that they run, as they say on their Leases, and as they mount."""
    groups: dict[tuple[str, str], list[str]] = {}
    for view in pods:
        if view.lease is not None and view.lease.config_hash:
            key = (view.lease.config_hash, boot_hash_of(config, view.pod) or "")
            groups.setdefault(key, []).append(view.pod.ref.name)
    return [
        {
            "hash": hash_,
            **({"bootHash": boot} if boot else {}),
            "pods": len(members),
            "names": sorted(members)[:MOST_NAMES],
        }
        for (hash_, boot), members in sorted(groups.items())
    ][:MOST_ENTRIES]


def rolled_out(state: ConfigState, pods: tuple[PodView, ...]) -> Verdict | None:
    """Only where there are pods that could run it."""
    if state.evaluation is None or not pods:
        return None
    if state.evaluation.blocked:
        text = "the pods go on with the last configuration that was whole: see ConfigurationValid"
        return Verdict(TYPE, "False", "NotRolledOut", text)
    rendered = state.evaluation.rendered
    capable = [view for view in pods if view.capable and view.lease is not None]
    old = [view.pod for view in capable if boot_hash_of(state.owner.name, view.pod) not in (None, rendered.boot_hash)]
    if old:
        text = f"{_named(old)} run with settings that take a restart, and are being replaced one by one"
        return Verdict(TYPE, "False", "Restarting", text)
    behind = [view.pod for view in capable if view.lease and view.lease.config_hash != rendered.config_hash]
    if behind:
        text = f"{_named(behind)} run another configuration than {rendered.config_hash}"
        return Verdict(TYPE, "False", "PodsBehind", text)
    if not capable:
        return Verdict(TYPE, "Unknown", "NoPods", "no pod takes users, so none says what it runs")
    return Verdict(TYPE, "True", "AllPods", f"every capable pod runs configuration {rendered.config_hash}")


def _named(pods: list[Pod]) -> str:
    """Some of them by name."""
    known = ", ".join(pod.ref.name for pod in pods[:NAMED_PODS])
    more = f" and {len(pods) - NAMED_PODS} more" if len(pods) > NAMED_PODS else ""
    return f"{known}{more}"
