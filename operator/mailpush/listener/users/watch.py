"""The push users of this pod's slots, as the API has them."""

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import structlog
from pydantic import ValidationError

from mailpush.kube.client import Object
from mailpush.kube.reflector import Change
from mailpush.listener.users.elders import ByLogin, elder_of
from mailpush.listener.users.logins import Logins
from mailpush.listener.users.user import User, UserKey, key_of
from mailpush.properties.settings import Settings

log = structlog.get_logger(__name__)


class ChangeObserver(Protocol):
    """The supervisor, as the users see it."""

    def user_changed(self, key: UserKey) -> None:
        """The PushUser has come, changed or gone."""


class Users:
    """Push users of one MailPushConfig, as far as this pod reads them.

    A user that is gone means only that this pod has nothing to do with it any more: one that is to be unregistered
    shows a deletionTimestamp first.

    Args:
        came: called for each user who was not known.
    """

    def __init__(self, config: str, *, came: Callable[[], None] = lambda: None) -> None:
        self._config = config
        self._came = came
        self._observer: ChangeObserver | None = None
        self._users: dict[UserKey, User] = {}
        self._slots: dict[int, set[UserKey]] = {}
        self._logins = Logins(self._users)
        self._broken: set[str] = set()
        self._by_login = ByLogin()

    def notify(self, observer: ChangeObserver) -> None:
        """`observer` learns each key that comes, changes or goes from now on."""
        self._observer = observer

    def __len__(self) -> int:
        return len(self._users)

    def get(self, key: UserKey) -> User | None:
        return self._users.get(key)

    def by_login(self, login: str, source: str) -> UserKey | None:
        """The one user whom loginSource `source` gives this login, whatever its case."""
        return self._logins.find(login, source)

    def elder_of(self, user: User, settings: Settings) -> str | None:
        """The oldest other PushUser that registers the same mailbox and is older than `user`; None where none is."""
        others = (self._users[key] for key in self._by_login.like(user))
        return elder_of(user, others, settings)

    def in_slot(self, slot: int) -> Collection[UserKey]:
        return self._slots.get(slot, ())

    def versions(self, slots: Iterable[int]) -> dict[str, str]:
        """The resourceVersions of the slots' users as last read, by the names of their PushUsers."""
        users = (self._users[key] for slot in slots for key in self.in_slot(slot))
        return {user.name: user.version for user in users}

    def forget(self, slots: Iterable[int]) -> list[str]:
        """The slots are read no more: their users are dropped, and nobody is told. Gives the PushUsers' names."""
        left = [self._users[key] for slot in slots for key in self.in_slot(slot)]
        for user in left:
            self._remove(user)
        return [user.name for user in left]

    def observe(self, change: Change, obj: Object) -> None:
        """One difference that the watch or a list has shown. ABSENT needs nothing of the object but its name."""
        metadata = obj["metadata"]
        if change in ("DELETED", "ABSENT"):
            key = key_of(self._config, metadata["name"])
            before = None if key is None else self._users.get(key)
            self._broken.discard(metadata["name"])
            if before is not None and metadata.get("uid", before.uid) == before.uid:  # else made anew meanwhile
                self._changed(before.key, self._remove(before))
            return
        try:
            user = User.of(obj)
        except ValidationError as error:
            name = metadata["name"]
            if name not in self._broken:
                self._broken.add(name)
                fields = sorted({".".join(str(part) for part in problem["loc"]) for problem in error.errors()})
                log.warning("push_user_unreadable", push_user=name, fields=fields)
            return
        self._broken.discard(user.name)
        if user.spec.config_ref.name == self._config:  # else a wrong label, which the operator puts right
            self._put(user)

    def _put(self, user: User) -> None:
        before = self._users.get(user.key)
        if before is not None:
            self._logins.drop(before)
        else:
            self._came()
        self._users[user.key] = user
        self._logins.put(user)
        self._slots.setdefault(user.slot, set()).add(user.key)
        self._changed(user.key, self._by_login.replace(before, user))

    def _remove(self, user: User) -> set[UserKey]:
        """Gives the others whom it may concern."""
        del self._users[user.key]
        self._logins.drop(user)
        members = self._slots[user.slot]
        members.discard(user.key)
        if not members:
            del self._slots[user.slot]
        return self._by_login.replace(user, None)

    def _changed(self, key: UserKey, touched: set[UserKey]) -> None:
        if self._observer is not None:
            for one in (key, *touched):
                self._observer.user_changed(one)
