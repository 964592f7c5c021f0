"""Push users by login name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailpush.decision.logins import login_by, sane_login

if TYPE_CHECKING:
    from mailpush.listener.users.user import User, UserKey


class Logins:
    """An index of `users`, which is built when somebody asks for the first time: most installations never do.

    Whoever changes `users` says so by `put` and `drop`.
    """

    def __init__(self, users: Mapping[UserKey, User]) -> None:
        self._users = users
        self._source: str | None = None
        self._keys: dict[str, set[UserKey]] = {}

    def find(self, login: str, source: str) -> UserKey | None:
        """The one user who has this login, whatever its case and the form of its domain.

        None where nobody has it, or several have.

        `source` is the MailPushConfig's loginSource.
        """
        if source != self._source:
            self._source, self._keys = source, {}
            for user in self._users.values():
                self.put(user)
        found = self._keys.get(sane_login(login).casefold(), set())
        if len(found) > 1:  # the older has the mailbox
            found = {key for key in found if self._users[key].status.duplicate_of is None}
        return next(iter(found)) if len(found) == 1 else None

    def put(self, user: User) -> None:
        """The user has come, and was not there before."""
        if (login := self._login(user)) is not None:
            self._keys.setdefault(login, set()).add(user.key)

    def drop(self, user: User) -> None:
        """The user is gone, or has changed: as it was before."""
        if (login := self._login(user)) is not None and (found := self._keys.get(login)) is not None:
            found.discard(user.key)
            if not found:
                del self._keys[login]

    def _login(self, user: User) -> str | None:
        if self._source is None:
            return None
        login = login_by(self._source, user.spec.login, user.spec.mail)
        return sane_login(login).casefold() if login else None
