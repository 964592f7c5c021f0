"""Which PushUsers register which mailbox: Dovecot calls for one user of a mailbox only, so the oldest has it."""

from dataclasses import dataclass

from mailpush.controller.users.record import UserName

Mailbox = tuple[str, str]
"""Address of the server, and login."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`user`: context and user id. Two PushUsers of one user register the same, so neither is in the other's way."""

    created: str
    name: UserName
    user: tuple[int, int]

    @property
    def age(self) -> tuple[str, str, str]:
        return self.created, self.name.name, self.name.namespace


class Mailboxes:
    """All that the operator has looked at, over its namespaces."""

    def __init__(self) -> None:
        self._claims: dict[Mailbox, tuple[Claim, ...]] = {}
        """Of nearly every mailbox one: a dictionary for each would be most of what a user takes here."""
        self._of: dict[UserName, Mailbox | None] = {}

    def claim(self, claim: Claim, mailbox: Mailbox | None) -> set[UserName]:
        """The user registers `mailbox`, or (None) nothing. Gives the others for whom that may change something."""
        name = claim.name
        before = self._of.get(name)
        if before == mailbox and (mailbox is None or claim in self._claims[mailbox]):
            self._of[name] = mailbox
            return set()
        touched = self._drop(name)
        self._of[name] = mailbox
        if mailbox is not None:
            others = self._claims.get(mailbox, ())
            touched |= {one.name for one in others}
            self._claims[mailbox] = (*others, claim)
        return touched - {name}

    def gone(self, name: UserName) -> set[UserName]:
        """The PushUser does not exist any more. Gives the others of its mailbox."""
        touched = self._drop(name)
        self._of.pop(name, None)
        return touched

    def knows(self, name: UserName) -> bool:
        """Whether this process has looked at the user."""
        return name in self._of

    def elder(self, name: UserName) -> UserName | None:
        """The oldest PushUser of another user that registers the same mailbox and is older; None where none is."""
        mailbox = self._of.get(name)
        if mailbox is None:
            return None
        claims = self._claims[mailbox]
        mine = next(one for one in claims if one.name == name)
        elders = [one for one in claims if one.user != mine.user and one.age < mine.age]
        return min(elders, key=lambda one: one.age).name if elders else None

    def _drop(self, name: UserName) -> set[UserName]:
        mailbox = self._of.get(name)
        if mailbox is None:
            return set()
        others = tuple(one for one in self._claims[mailbox] if one.name != name)
        if others:
            self._claims[mailbox] = others
        else:
            del self._claims[mailbox]
        return {one.name for one in others}
