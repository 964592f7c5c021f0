"""The status of a MailPushConfig, from what is known of it and of its pods. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from mailpush import names
from mailpush.api.conditions import Verdict, conditions
from mailpush.api.mailpushconfig_status import MOST_PACKAGES
from mailpush.controller.state import ConfigState
from mailpush.controller.status.callbacks import callbacks
from mailpush.controller.status.credentials import credential_verdicts, storage_status
from mailpush.controller.status.delivery import transports
from mailpush.controller.status.doveadm import doveadm
from mailpush.controller.status.eviction import redis_may_evict
from mailpush.controller.status.pod import PodView
from mailpush.controller.status.ready import joined, ready
from mailpush.controller.status.redis import checkpoints_volatile, redis
from mailpush.controller.status.rollout import config_pods, rolled_out
from mailpush.controller.status.servers import mail_servers
from mailpush.controller.status.shard_map import MapView
from mailpush.controller.status.tokens import access_tokens
from mailpush.packages import PackageState

NAMED_PODS: Final = 5


def config_status(
    state: ConfigState, pods: tuple[PodView, ...], shard_map: MapView, denied: Mapping[str, int], now: str
) -> dict[str, Any]:
    """The whole status, to be applied as it is. `denied`: users who are not to be listened for, by reason."""
    status: dict[str, Any] = {
        "observedGeneration": state.generation,
        "conditions": conditions(
            _verdicts(state, pods, shard_map), state.body_status.get("conditions") or (), state.generation, now
        ),
        "listeners": _listeners(state, pods, denied),
        "epoch": shard_map.epoch,
    }
    if state.evaluation is not None:
        status["configHash"] = state.evaluation.rendered.config_hash
        status["packages"] = [_package(package) for package in state.evaluation.packages[:MOST_PACKAGES]]
        status["bootHash"] = state.evaluation.rendered.boot_hash
    if (storage := storage_status(state, pods)) is not None:
        status["credentialStorage"] = storage
    status["configPods"] = config_pods(state.owner.name, pods)
    return status


def _verdicts(state: ConfigState, pods: tuple[PodView, ...], shard_map: MapView) -> list[Verdict]:
    verdicts = [_valid(state), _available(state, pods), _balanced(shard_map)]
    told_of_pods = (
        rolled_out(state, pods),
        mail_servers(state, pods),
        callbacks(state, pods),
        transports(state, pods),
        redis(state, pods),
        checkpoints_volatile(state, pods),
        redis_may_evict(state, pods),
        access_tokens(state, pods),
        doveadm(state, pods),
    )
    verdicts += [verdict for verdict in told_of_pods if verdict is not None]
    verdicts += credential_verdicts(state, pods)
    if state.evaluation is not None and (warnings := state.evaluation.warnings):
        text = joined(warning.message for warning in warnings)
        verdicts.append(Verdict("Warning", "True", warnings[0].reason, text))
    return [ready(state, {verdict.type: verdict for verdict in verdicts}, pods, shard_map), *verdicts]


def _valid(state: ConfigState) -> Verdict:
    if state.fault is not None:
        return Verdict("ConfigurationValid", "False", "ReconcileFailed", state.fault)
    if state.evaluation is None:
        return Verdict("ConfigurationValid", "Unknown", "NotRead", "it has not been looked at yet")
    if not state.evaluation.valid:
        problems = state.evaluation.problems
        return Verdict(
            "ConfigurationValid", "False", problems[0].reason, joined(problem.message for problem in problems)
        )
    return Verdict("ConfigurationValid", "True", "Valid", "listeners can run by it")


def _available(state: ConfigState, pods: tuple[PodView, ...]) -> Verdict:
    capable = sum(view.capable for view in pods)
    if state.wanted_replicas is None:
        text = f"{capable} of {len(pods)} pods take users; how many are wanted has not been evaluated yet"
        return Verdict("ListenersAvailable", "Unknown", "NotRead", text)
    wanted = state.wanted_replicas - len(_excluded(state))
    if wanted <= 0:
        blocked = state.evaluation is None or state.evaluation.blocked
        text = (
            "none is started before the configuration is whole" if blocked else "set listeners.replicas to one or more"
        )
        return Verdict("ListenersAvailable", "False", "NoReplicas", f"no listener pods are wanted: {text}")
    if capable >= wanted:
        return Verdict("ListenersAvailable", "True", "AllCapable", f"{capable} of {wanted} pods take users")
    asked = [view for view in pods if view.pod.ordinal not in _excluded(state)]
    excuses = [f"{view.pod.ref.name} {why}" for view in asked if (why := view.why_not()) is not None]
    if len(asked) < wanted:
        where = f"kubectl describe statefulset {names.statefulset_name(state.owner.name)}"
        excuses.append(f"{wanted - len(asked)} pods do not exist yet ({where} says why, such as a quota)")
    more = f" and {len(excuses) - NAMED_PODS} more" if len(excuses) > NAMED_PODS else ""
    text = f"{capable} of {wanted} pods take users: {'; '.join(excuses[:NAMED_PODS])}{more}"
    return Verdict("ListenersAvailable", "False", "SomeMissing" if capable else "NoneCapable", text)


def _excluded(state: ConfigState) -> frozenset[int]:
    """Ordinals of wanted pods that are to take no users while others do."""
    settings = state.evaluation.settings if state.evaluation is not None else None
    if settings is None or not settings.allowed_somewhere:
        return frozenset()
    return frozenset(ordinal for ordinal in range(state.wanted_replicas or 0) if not settings.allowed_in(ordinal))


def _balanced(shard_map: MapView) -> Verdict:
    if shard_map.moving:
        text = f"{shard_map.moving} slots are on their way to another pod"
        return Verdict("Balanced", "False", "Moving", text)
    return Verdict("Balanced", "True", "Balanced", f"the fullest pod has {shard_map.imbalance:.2f} times the mean")


def _listeners(state: ConfigState, pods: tuple[PodView, ...], denied: Mapping[str, int]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for view in pods:
        if view.lease is not None and view.lease.held_by(view.pod.ref.uid):
            counts.update(view.lease.counts)
    selector = names.listener_selector(state.owner.name)
    return {
        "pods": len(pods),
        "capable": sum(view.capable for view in pods),
        "assigned": max(0, counts["assigned"]),
        "running": max(0, counts["listening"]),
        "failed": max(0, counts["failed"]),
        "sweeping": max(0, counts["sweeping"]),
        "denied": [{"reason": reason, "count": count} for reason, count in sorted(denied.items()) if count > 0][:64],
        "selector": ",".join(f"{key}={value}" for key, value in sorted(selector.items())),
    }


def _package(package: PackageState) -> dict[str, str]:
    return {"name": package.name, "status": "enabled" if package.enabled else "disabled", "reason": package.reason}


def same_status(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether a write can be spared. Empty and missing fields are the same to the API server's defaults."""
    return {key: before.get(key) for key in after} == dict(after)
