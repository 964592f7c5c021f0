"""The condition Ready: whether users are listened for as they should be, and if not, the first reason. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from mailpush import names
from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView
from mailpush.controller.status.servers import why_nobody
from mailpush.controller.status.shard_map import MapView
from mailpush.decision.warnings import UNTOLD

TYPE: Final = "Ready"


TROUBLES: Final = frozenset(
    {
        "AccessTokenDegraded",
        "CallbackDegraded",
        "CredentialStorageDegraded",
        "DoveadmDegraded",
        "MailServerDegraded",
        "PasscryptMismatch",
        "RedisDegraded",
        "RedisMayEvict",
        "TransportDegraded",
    }
)
"""Conditions that are bad news where they are True."""


def ready(state: ConfigState, others: Mapping[str, Verdict], pods: tuple[PodView, ...], shard_map: MapView) -> Verdict:
    """`others`: what the other conditions say, by type."""
    valid, available = others["ConfigurationValid"], others["ListenersAvailable"]
    refusals = _refusals(state, valid, available, pods, shard_map)
    text = joined((f"every slot has an owner; {_running(pods)} users are listened for", *_but(state, others)))
    return next(refusals, Verdict(TYPE, "True", "Listening", text))


def _but(state: ConfigState, others: Mapping[str, Verdict]) -> Iterator[str]:
    """What keeps notifications from users who are listened for."""
    if state.evaluation is not None:
        yield from (f"but {one.message}" for one in state.evaluation.warnings if one.reason in UNTOLD)
    if troubles := [type_ for type_ in sorted(TROUBLES) if type_ in others and others[type_].status == "True"]:
        yield f"but see {', '.join(troubles)}"


def _refusals(
    state: ConfigState, valid: Verdict, available: Verdict, pods: tuple[PodView, ...], shard_map: MapView
) -> Iterator[Verdict]:
    if valid.status != "True":
        yield _no(valid.reason, valid.message)
    yield from _by_wish(state)
    if not any(view.capable for view in pods):
        yield _no(available.reason, available.message)
    if shard_map.restoring:
        yield _no("Restoring", "the ShardMap is being restored; nothing needs to be done")
    if shard_map.unowned:
        yield _no("Assigning", f"{shard_map.unowned} of the slots have no owner yet; nothing needs to be done")
    if shard_map.users and not _running(pods):
        yield _nobody(shard_map.users, pods)


def _running(pods: tuple[PodView, ...]) -> int:
    return sum(view.lease.counts.get("listening", 0) for view in pods if view.capable and view.lease is not None)


def _by_wish(state: ConfigState) -> Iterator[Verdict]:
    """Why nobody is listened for although the configuration is valid."""
    if state.evaluation is None:
        return
    if problems := state.evaluation.problems:
        yield _no(problems[0].reason, joined(problem.message for problem in problems))
    if state.evaluation.unregister:
        yield _no(
            "Unregistering",
            f"all users are being unregistered; take the annotation {names.UNREGISTER_ANNOTATION} off to listen again",
        )


def _nobody(users: int, pods: tuple[PodView, ...]) -> Verdict:
    if why := why_nobody(pods):
        return _no("NobodyListening", f"none of {users} users is listened for; {why}")
    return _no("Starting", f"{users} users are to be listened for, and none is yet; nothing needs to be done")


def _no(reason: str, message: str) -> Verdict:
    return Verdict(TYPE, "False", reason, message)


def joined(messages: Iterable[str]) -> str:
    """The sentences, each once."""
    return "; ".join(dict.fromkeys(messages))
