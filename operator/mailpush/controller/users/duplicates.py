"""PushUsers of one mailbox as the operator sees them, over MailPushConfigs and namespaces."""

from typing import Final

from mailpush.api.pushuser import PushUserSpec
from mailpush.controller.state import ConfigState
from mailpush.controller.users.mailboxes import Claim, Mailbox, Mailboxes
from mailpush.controller.users.record import UserName, UserRecord
from mailpush.controller.users.store import UserStore
from mailpush.decision import UserFacts, decide
from mailpush.decision.places import place_of
from mailpush.work.queue import WorkQueue

ASK_AGAIN_SECONDS: Final = 1.0


class Duplicates:
    """Knows for each user the older one that has the mailbox, and has the others looked at when that changes."""

    def __init__(self, store: UserStore, queue: WorkQueue[UserName]) -> None:
        self._store = store
        self._queue = queue
        self._mailboxes = Mailboxes()
        self._overwrote: set[UserName] = set()

    def transition(self, name: UserName, before: UserRecord, after: UserRecord) -> None:
        """The user's object has changed."""
        if before.registered and not after.registered:
            self._overwrote.add(name)

    def overwrote(self, name: UserName) -> bool:
        """Whether the user was registered and is no more: another's entry at the same mailbox may be gone with it."""
        return name in self._overwrote

    def resynced(self, name: UserName) -> None:
        """The other has been asked to register again."""
        self._overwrote.discard(name)

    def gone(self, name: UserName) -> None:
        """The PushUser does not exist any more."""
        self._overwrote.discard(name)
        self._look_at(self._mailboxes.gone(name))

    def none(self, name: UserName, record: UserRecord) -> None:
        """The user registers no mailbox."""
        self._claim(name, record, None)

    def elder(
        self,
        name: UserName,
        record: UserRecord,
        spec: PushUserSpec,
        state: ConfigState,
        facts: UserFacts,
        *,
        secret_login: str | None,
    ) -> UserName | None:
        """The older PushUser that has the user's mailbox; None where none has.

        Args:
            spec: the record's.
            facts: of the user, as if it were alone.
        """
        if state.site is None or state.evaluation is None or state.evaluation.settings is None:
            return None
        decision = decide(facts, state.site)
        registers = decision.spawn and "dovecot" in decision.mechanisms and not record.deleting
        place = place_of(spec, state.evaluation.settings, secret_login)
        self._claim(name, record, place.mailbox if place is not None and (registers or record.registered) else None)
        before = user_name(record.duplicate_of)
        if before is not None and not self._mailboxes.knows(before) and self._store.get(before) is not None:
            # Not looked at yet by this process: until then it is as it was.
            self._queue.add(before)
            self._queue.add_after(name, ASK_AGAIN_SECONDS)
            return before
        elder = self._mailboxes.elder(name)
        if elder is None:
            self._overwrote.discard(name)
        return elder

    def _claim(self, name: UserName, record: UserRecord, mailbox: Mailbox | None) -> None:
        claim = Claim(record.created, name, (record.context_id, record.user_id))
        self._look_at(self._mailboxes.claim(claim, mailbox))

    def _look_at(self, others: set[UserName]) -> None:
        for other in others:
            self._queue.add(other)


def user_name(text: str | None) -> UserName | None:
    """Of `status.duplicateOf`."""
    namespace, slash, name = (text or "").partition("/")
    return UserName(namespace, name) if slash else None
