"""Two PushUsers of one mailbox: Dovecot calls for one user of it only, so the older one has it.

A pod sees the users of its own slots, and finds by itself who of them is older before anything is registered. The
operator sees all others, and says so in `status.duplicateOf`, before it gives the younger the labels that pods read by.
"""

from collections.abc import Iterable

from mailpush.decision.logins import LOGIN_FIELDS, login_by, sane_login
from mailpush.decision.places import place_of
from mailpush.listener.users.user import User, UserKey
from mailpush.properties.settings import Settings


class ByLogin:
    """Users by what their login may be, by any loginSource, in any case."""

    def __init__(self) -> None:
        self._keys: dict[str, set[UserKey]] = {}

    def replace(self, before: User | None, after: User | None) -> set[UserKey]:
        """Takes in a change; gives the others whom it may concern."""
        if before is not None and after is not None and _matters(before) == _matters(after):
            return set()
        touched = self.like(before) | self.like(after)
        for word in _words(before):
            members = self._keys.get(word, set())
            members.discard(before.key if before else (0, 0))
            if not members:
                self._keys.pop(word, None)
        for word in _words(after):
            self._keys.setdefault(word, set()).add(after.key if after else (0, 0))
        return (touched | self.like(after)) - {one.key for one in (before, after) if one is not None}

    def like(self, user: User | None) -> set[UserKey]:
        """The other users who may have the same login."""
        found: set[UserKey] = set()
        for word in _words(user):
            found |= self._keys.get(word, set())
        return found - ({user.key} if user is not None else set())


def elder_of(user: User, others: Iterable[User], settings: Settings) -> str | None:
    """The name of the oldest of `others` that has the mailbox of `user` and is older; None where none is."""
    if _by_secret(user, settings):
        return None  # its login may stand in the Secret
    place = place_of(user.spec, settings)
    if place is None:
        return None
    elders = [
        (other.created, other.name)
        for other in others
        if not _by_secret(other, settings)
        and _registers(other, settings)
        and (other.created, other.name) < (user.created, user.name)
        and (there := place_of(other.spec, settings)) is not None
        and there.mailbox == place.mailbox
    ]
    return min(elders)[1] if elders else None


def _by_secret(user: User, settings: Settings) -> bool:
    mail = settings.mail
    return mail is not None and mail.user_secrets and user.spec.credentials_secret_ref is not None


def _registers(user: User, settings: Settings) -> bool:
    if user.status.registrations:
        return True
    allowed = any(settings.allowed_clients.match(client) for client in user.spec.clients)
    return allowed and not user.spec.suspend and not user.deleting


def _words(user: User | None) -> set[str]:
    if user is None:
        return set()
    logins = (login_by(source, user.spec.login, user.spec.mail) for source in LOGIN_FIELDS)
    return {sane_login(login).casefold() for login in logins if login}


def _matters(user: User) -> tuple[object, ...]:
    return user.uid, user.spec, user.deleting, bool(user.status.registrations)
