"""Registrations at mail servers that nobody is left to take away: kept in a ConfigMap of the namespace.

A PushUser remembers its own in its status. When it goes without them, because no pod reached the mail server in time or
none was there, they are noted here. Nothing owns the ConfigMap: it outlives the MailPushConfig and the release.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from mailpush import names
from mailpush.kube.client import Kube, Object
from mailpush.kube.errors import ConflictError
from mailpush.kube.resources import CONFIG_MAP

NAME: Final = "mail-push-left-registrations"
LINES: Final = "registrations"
DROPPED: Final = "dropped"
MOST_BYTES: Final = 512 * 1024
"""Of the lines together: etcd takes 1.5 MB. The oldest are dropped first, and counted."""
TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class LeftOver:
    """One entry in a mailbox. `secret`: name of the Secret that has, or had, the password; `since`: RFC 3339."""

    config: str
    context_id: int
    user_id: int
    server: str
    address: str
    login: str
    value: str
    secret: str | None
    since: str

    @property
    def key(self) -> tuple[str, int, int, str, str]:
        return self.config, self.context_id, self.user_id, self.server, self.login

    @classmethod
    def of_line(cls, line: str) -> Self | None:
        """None for a line that is not ours, or of another version."""
        try:
            return cls(**json.loads(line))
        except (ValueError, TypeError):
            return None


def left_by(user: Object, since: str) -> list[LeftOver]:
    """What a PushUser leaves behind if it goes now."""
    spec, found = user.get("spec") or {}, (user.get("status") or {}).get("registrations") or {}
    return [
        LeftOver(
            config=spec["configRef"]["name"],
            context_id=spec["contextId"],
            user_id=spec["userId"],
            server=one.get("server", ""),
            address=one.get("address", ""),
            login=one.get("login", ""),
            value=one.get("value", ""),
            secret=(spec.get("credentialsSecretRef") or {}).get("name"),
            since=since,
        )
        for one in found.values()
    ]


def lines_of(entries: Iterable[LeftOver]) -> tuple[list[str], int]:
    """One line of JSON for each entry, as many of the last as there is room for; and how many have none."""
    lines: list[str] = []
    room = MOST_BYTES
    everything = list(entries)
    for entry in reversed(everything):
        line = json.dumps(asdict(entry), ensure_ascii=False, separators=(",", ":"))
        room -= len(line.encode("utf-8", "replace")) + 1
        if room < 0:
            break
        lines.append(line)
    return lines[::-1], len(everything) - len(lines)


def entries_of(config_map: Object | None) -> list[LeftOver]:
    """Those of the ConfigMap, the oldest first."""
    text = ((config_map or {}).get("data") or {}).get(LINES, "")
    return [entry for line in text.splitlines() if (entry := LeftOver.of_line(line)) is not None]


async def read(kube: Kube, namespace: str) -> list[LeftOver]:
    """Those of the namespace, the oldest first. Raises KubeError."""
    return entries_of(await kube.find(CONFIG_MAP, namespace, NAME))


async def change(kube: Kube, namespace: str, *, add: Iterable[LeftOver] = (), remove: Iterable[LeftOver] = ()) -> int:
    """Adds and takes out, whoever else writes meanwhile; an entry that is there already stays as it is. Gives how many
    there are now.

    Raises:
        KubeError: not done.
    """
    add, gone = list(add), {entry.key for entry in remove}
    for left in range(TRIES, 0, -1):
        config_map = await kube.find(CONFIG_MAP, namespace, NAME)
        before = entries_of(config_map)
        known = {entry.key for entry in before}
        fresh = {entry.key: entry for entry in add if entry.key not in known}
        after = [*(entry for entry in before if entry.key not in gone), *fresh.values()]
        if after == before:
            return len(after)
        try:
            await _write(kube, namespace, config_map, after)
        except ConflictError:
            if left == 1:
                raise
        else:
            return len(after)
    raise AssertionError("the last try returns or raises")


async def _write(kube: Kube, namespace: str, before: Object | None, entries: list[LeftOver]) -> None:
    lines, dropped = lines_of(entries)
    dropped += int(((before or {}).get("data") or {}).get(DROPPED, "0"))
    data: dict[str, str] = {LINES: "".join(f"{line}\n" for line in lines)}
    if dropped:
        data[DROPPED] = str(dropped)
    metadata: dict[str, Any] = {
        "name": NAME,
        "namespace": namespace,
        "labels": {names.NAME_LABEL: "mail-push", names.COMPONENT_LABEL: "left-registrations"},
    }
    body: Object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    if before is None:
        await kube.create(CONFIG_MAP, namespace, body)
    else:
        metadata["resourceVersion"] = before["metadata"]["resourceVersion"]
        await kube.replace(CONFIG_MAP, namespace, body)
