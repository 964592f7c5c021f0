"""`kubectl mailpush unregister --all`: has the pods take every registration away at the mail servers, and says how far.

What is to be is an annotation of the MailPushConfig, so whoever stops this and starts it again goes on where it is, and
so does a pod or an operator that was away meanwhile.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from mailpush import names
from mailpush.api.conditions import find, timestamp
from mailpush.cli.finalizers import has_finalizer, take_off
from mailpush.cli.kubectl.cluster import ask
from mailpush.cli.kubectl.kubeconfig import files_of, namespace_of
from mailpush.cli.kubectl.manifests import Object, Trouble
from mailpush.kube import leftovers, resources
from mailpush.kube.client import Kube
from mailpush.kube.errors import ForbiddenError, KubeError, NotFoundError

DONE: Final = 0
LEFT: Final = 1
TROUBLE: Final = 2
LOOK_SECONDS: Final = 1.0
REASONS: Final = 3
"""Of those that are left: as many are told as are worth a line."""
OPERATOR_SECONDS: Final = 30.0
"""Since the operator's Lease was renewed: longer, and there is none."""


class Registered(NamedTuple):
    """Users who are registered at a mail server, and what is said of the commonest that are not unregistered."""

    number: int
    reasons: Counter[str]


def run(
    *,
    config: str | None,
    leave: bool,
    undo: bool,
    stalled: float,
    namespace: str | None,
    kubeconfig: str | None,
    context: str | None,
) -> int:
    """The exit code: 0 where nobody is registered any more, 1 where some are, 2 where nothing could be done."""
    try:
        chosen = namespace or namespace_of(files_of(kubeconfig), context)
        connecting = Kube.connect(Path(kubeconfig) if kubeconfig else None, context=context)
        return ask(
            _unregister(connecting, chosen, config, leave=leave, undo=undo, stalled=stalled),
            without="annotate the MailPushConfig by kubectl",
        )
    except Trouble as trouble:
        sys.stderr.write(f"kubectl mailpush unregister: {trouble}\n")
        return TROUBLE


async def _unregister(
    connecting: Awaitable[Kube], namespace: str, config: str | None, *, leave: bool, undo: bool, stalled: float
) -> int:
    async with await connecting as kube:
        try:
            present, _ = await kube.list(resources.MAIL_PUSH_CONFIG, namespace)
        except NotFoundError:
            raise Trouble("this cluster does not know MailPushConfigs: choose another with --context") from None
        known = sorted(one["metadata"]["name"] for one in present)
        if config is not None and config not in known and not leave:
            raise Trouble(
                f"there is no MailPushConfig {config} in namespace {namespace} (there: {', '.join(known) or 'none'}; "
                "another namespace: -n)"
            )
        wanted = known if config is None else [config]
        if leave:
            return await _leave(kube, namespace, config)
        if not wanted:
            raise Trouble(
                f"there is no MailPushConfig in namespace {namespace}, so there is no pod that could unregister "
                "anybody; --leave takes the finalizers off and leaves the registrations"
            )
        for name in wanted:
            value = None if undo else names.UNREGISTER_WANTED
            body = {"metadata": {"annotations": {names.UNREGISTER_ANNOTATION: value}}}
            await kube.merge_patch(resources.MAIL_PUSH_CONFIG, namespace, name, body)
        if undo:
            _say(f"the users of {', '.join(wanted)} are listened for again")
            return DONE
        _say(
            f"the users of {', '.join(wanted)} are being unregistered, and nobody is listened for from now on. This "
            "may be stopped and started again at any time: it goes on where it is"
        )
        return await _follow(kube, namespace, config, wanted, stalled)


async def _follow(kube: Kube, namespace: str, config: str | None, wanted: list[str], stalled: float) -> int:
    """Says how far it is until nobody is registered, or nothing has happened for `stalled` seconds."""
    began = moved = time.monotonic()
    first = last = -1
    while True:
        looked = time.monotonic()
        left = await _registered(kube, namespace, config)
        now = time.monotonic()
        if first < 0:
            first = left.number
        if left.number != last:
            last, moved = left.number, now
            _say(progress(first, last, now - began))
        if not left.number:
            undo = "kubectl mailpush unregister --all --undo"
            _say(f"all users of {', '.join(wanted)} are unregistered; to listen for them again: {undo}")
            return DONE
        if now - moved >= stalled:
            said = "; ".join(f"{reason} ({count})" for reason, count in left.reasons.most_common(REASONS))
            sys.stderr.write(
                f"kubectl mailpush unregister: {left.number} users are still registered, and none was unregistered for "
                f"{stalled:.0f} s: {said}. See `kubectl -n {namespace} get mailpushconfig,pods`; run it again to go "
                "on, or with --leave to leave these registrations as they are\n"
            )
            return LEFT
        # A list of a hundred thousand is no small thing to ask for each second.
        await asyncio.sleep(max(LOOK_SECONDS, 2 * (now - looked)))


def progress(first: int, left: int, seconds: float) -> str:
    """How far it is. `first`: who were registered when this began."""
    done = first - left
    if left == 0 or done <= 0 or seconds <= 0:
        return f"{left} users are registered"
    rate = done / seconds
    return f"{left} of {first} users are registered; {rate:.0f} a second are unregistered, {left / rate:.0f} s are left"


async def _registered(kube: Kube, namespace: str, config: str | None) -> Registered:
    number, reasons = 0, Counter[str]()
    async for page, _ in kube.pages(resources.PUSH_USER, namespace):
        for user in page:
            if is_registered(user) and config in (None, user["spec"]["configRef"]["name"]):
                number += 1
                reasons[_said(user)] += 1
    return Registered(number, reasons)


def is_registered(user: Object) -> bool:
    """Whether a mail server calls for the user, as far as the PushUser knows: with deletionPolicy Leave there is no
    finalizer that tells."""
    return has_finalizer(user) or bool((user.get("status") or {}).get("registrations"))


def _said(user: Object) -> str:
    listening = find((user.get("status") or {}).get("conditions") or (), "Listening")
    if listening is None or listening["status"] == "True":
        return "no pod has tried yet"
    return f"{listening['reason']}: {listening['message']}"


async def _leave(kube: Kube, namespace: str, config: str | None) -> int:
    """Takes the finalizers off, and notes what stays registered where that can still be noted."""
    found = await kube.find(resources.NAMESPACE, None, namespace)
    ends = found is not None and "deletionTimestamp" in found["metadata"]
    serving = await _operator(kube, namespace)
    number = noted = 0
    refused = False
    async for page, _ in kube.pages(resources.PUSH_USER, namespace):
        users = [user for user in page if has_finalizer(user) and config in (None, user["spec"]["configRef"]["name"])]
        stay = [user for user in users if "deletionTimestamp" not in user["metadata"]]
        if stay and serving and not ends:
            raise Trouble(
                f"an operator serves the namespace ({serving}) and would set the finalizers again of users who are "
                "not deleted: set deletionPolicy: Leave in the MailPushConfig, or delete the PushUsers first"
            )
        count = await _note(kube, namespace, users)
        noted, refused = noted + (count or 0), refused or count is None
        await take_off(kube, namespace, users, partial(_tell, number))
        number += len(users)
    where = f"; ConfigMap {leftovers.NAME} keeps {noted} mailboxes" if noted else ""
    why = "; nothing can be noted of them in a namespace that ends" if refused else ""
    _say(f"{number} finalizers are taken off; the registrations at the mail servers stay{where}{why}")
    return DONE


async def _note(kube: Kube, namespace: str, users: list[Object]) -> int | None:
    """How many mailboxes were noted; None where that is refused."""
    since = timestamp()
    entries = [entry for user in users for entry in leftovers.left_by(user, since)]
    try:
        await leftovers.change(kube, namespace, add=entries)
    except (ForbiddenError, NotFoundError):
        return None
    return len(entries)


async def _operator(kube: Kube, namespace: str) -> str | None:
    """Who holds the operator's Lease; None where it is not renewed any more."""
    try:
        lease = await kube.find(resources.LEASE, namespace, names.OPERATOR_LEASE)
    except KubeError:
        return None
    spec = (lease or {}).get("spec") or {}
    if not spec.get("holderIdentity") or not spec.get("renewTime"):
        return None
    age = (await kube.server_time() - datetime.fromisoformat(spec["renewTime"])).total_seconds()
    return str(spec["holderIdentity"]) if age < OPERATOR_SECONDS else None


def _tell(before: int, done: int) -> None:
    if (before + done) % 1000 == 0:
        _say(f"{before + done} finalizers are taken off")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
