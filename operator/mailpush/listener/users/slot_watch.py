"""One list and watch of the users of some slots.

The API server selects by the label `mailpush.dev/slot`, which the operator sets. What it selects is not believed: the
slot of each user is computed, and who is of no slot that is wanted here is passed over.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from mailpush import names
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import KubeError
from mailpush.kube.objects import older
from mailpush.kube.reflector import Change, OnChange, Reflector
from mailpush.kube.resources import PUSH_USER
from mailpush.listener.users.user import key_of
from mailpush.sharding.slots import slot_of

TOO_LONG: Final = frozenset({414, 431, 494})
"""Answers to an address that is too long: URI Too Long, Request Header Fields Too Large, and nginx's own."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where a watch goes on, in place of others that have listed. Versions are resourceVersions."""

    version: str
    known: Mapping[str, str]
    """Versions of the known users, by the names of their PushUsers."""
    through: Mapping[int, str]
    """By slot, how far it was watched already: what comes once more is passed over."""


class SlotWatch:
    """Lists and watches until cancelled; changes of users of `slots` go to `on_change`.

    Args:
        selects: whether the API server is asked for the slots only, or for all users of the MailPushConfig.
        on_listed: called after each list.
        on_too_long: called where the address with all the slots is too long for what answers.
        progress: go on from there, without a list.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        config: str,
        slots: Iterable[int],
        on_change: OnChange,
        *,
        selects: bool,
        on_listed: Callable[["SlotWatch"], None],
        on_too_long: Callable[["SlotWatch"], None],
        lists: asyncio.Semaphore,
        progress: Progress | None = None,
    ) -> None:
        self.asked = frozenset(slots)
        self.held = set(self.asked)
        """Those of the asked slots whose users are wanted still."""
        self.selects = selects
        self._labels = frozenset(map(str, self.asked))
        self._config = config
        self._on_change = on_change
        self._on_too_long = on_too_long
        self._through = dict(progress.through) if progress is not None else {}
        self._ignored = False
        self.reflector = Reflector(
            kube,
            PUSH_USER,
            namespace,
            self._changed,
            label_selector=selector(config, self.asked if selects else None),
            bodies=False,
            accepts=self._accepts,
            start=(progress.version, dict(progress.known)) if progress is not None else None,
            lists=lists,
            on_listed=lambda: on_listed(self),
            on_error=self._failed,
        )

    @property
    def version(self) -> str | None:
        """How far the watch has come; None while the users are listed."""
        return self.reflector.version

    def release(self, slots: Iterable[int], push_users: Iterable[str]) -> None:
        """The slots are not wanted any more, of which these are the PushUsers: nothing of them goes to `on_change`."""
        self.held.difference_update(slots)
        for name in push_users:
            self.reflector.versions.pop(name, None)

    # -- what comes

    def _accepts(self, kind: str, item: Object) -> bool:
        slot = self._slot(item)
        if slot is None or slot not in self.held:
            if self.selects and not self._ignored:
                self._look_at_stranger(item)
            return False
        if kind == "LISTED":
            self._through.clear()  # the server may have come back with older versions than it had
        through = self._through.get(slot)
        return through is None or older(through, item["metadata"]["resourceVersion"])

    def _slot(self, item: Object) -> int | None:
        key = key_of(self._config, item["metadata"]["name"])
        return None if key is None else slot_of(*key)

    def _changed(self, change: Change, item: Object) -> None:
        if change != "ABSENT" or self._slot(item) in self.held:
            self._on_change(change, item)

    def _look_at_stranger(self, item: Object) -> None:
        """A wrong label the operator puts right; a label that was not asked for means that nothing is selected."""
        label = (item["metadata"].get("labels") or {}).get(names.SLOT_LABEL)
        if label not in self._labels:
            self._ignored = True
            log.warning(
                "selector_ignored",
                push_user=item["metadata"]["name"],
                hint="what answers for the Kubernetes API ignores labelSelector, so that each pod reads all users",
            )

    def _failed(self, error: KubeError) -> None:
        if error.status in TOO_LONG and self.selects:
            self._on_too_long(self)


def selector(config: str, slots: Iterable[int] | None) -> str:
    """The label selector for the users of a MailPushConfig, in all slots or in these."""
    everybody = f"{names.CONFIG_LABEL}={config}"
    if slots is None:
        return everybody
    return f"{everybody},{names.SLOT_LABEL} in ({','.join(map(str, sorted(slots)))})"
