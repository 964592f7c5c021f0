"""With which credentials a user's mailbox is entered: one place that knows all sources and their order.

The master password where it is everybody's; else the user's own Secret where one is named; else the credential storage;
else an access token.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from mailpush.credentials.current_tokens import CurrentTokens
from mailpush.credentials.storage import Entry
from mailpush.credentials.stored import WORKED_SECONDS, Stored, StoredState, is_proven
from mailpush.decision import SecretFacts, StoredFacts, TokenFacts
from mailpush.listener.users.mailbox import secret_name
from mailpush.listener.users.marks import Marks
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.listener.users.user import User, UserKey
from mailpush.properties.settings import Settings

MASTER: Final = "master"
USER_SECRET: Final = "userSecret"  # noqa: S105 - a source
STORAGE: Final = "storage"
OAUTH: Final = "oauth"
DOVEADM: Final = "doveadm"
"""No credentials: the user is registered by doveadm."""

STORED_KEPT_SECONDS: Final = 6 * 3600.0
"""How often a user with a stored password is looked at for the mark that it works."""


@dataclass(frozen=True, slots=True)
class UserCredentials:
    """What is known now of one user's credentials. Equal ones give the same login."""

    source: str | None = None
    """None: none is set up for the user."""
    login: str | None = field(default=None, repr=False)
    """Where the source has one of its own."""
    password: str | None = field(default=None, repr=False)
    secret: SecretFacts | None = None
    stored: StoredFacts | None = None
    token: TokenFacts | None = field(default=None, compare=False)
    entry: Entry | None = field(default=None, compare=False)
    """Of the storage, with its marks."""

    @property
    def proven(self) -> bool:
        """Whether a mail server has taken this very password, in whatever process, and none has refused it since."""
        return self.entry is not None and is_proven(self.entry)

    @property
    def refused_since(self) -> int:
        """Since when mail servers refuse it, in seconds since 1970; 0 where they do not."""
        return self.entry.refused if self.entry is not None else 0


class Credentials:
    """Those of this pod's users."""

    def __init__(
        self,
        secrets: UserSecretReader,
        entries: StoredEntries | None = None,
        marks: Marks | None = None,
        tokens: CurrentTokens | None = None,
    ) -> None:
        self._secrets = secrets
        self._tokens = tokens or CurrentTokens()
        self._entries = entries or StoredEntries()
        self._marks = marks or Marks(self._entries)

    async def of(self, user: User, settings: Settings, *, needed: bool = True) -> UserCredentials:
        """What is known now. Where no password is `needed`, only the login that a Secret of the user's may have.

        Raises:
            KubeError, TimeoutError: the API does not give the user's Secret.
        """
        mail = settings.mail
        if mail is None:
            return UserCredentials()
        name = secret_name(user, settings)
        found = await self._secrets.get(name, user.name, user.status.secret_version) if name is not None else None
        by_master = mail.password_source == "global"  # noqa: S105 - OX's word
        if by_master or not needed:
            login, facts = (found.login, found.facts) if found is not None else (None, None)
            return UserCredentials(MASTER if needed else DOVEADM, login, secret=facts)
        if found is not None:
            return UserCredentials(USER_SECRET, found.login, found.password, secret=found.facts)
        stored = await self._entries.get(user.key) if settings.credential_storage.enabled else None
        # A stored password that cannot be used is a fault to be seen, not a reason to log in otherwise.
        if stored is not None and (mail.oauth is None or stored.state is not StoredState.MISSING):
            return UserCredentials(STORAGE, None, stored.password, stored=_facts(stored), entry=stored.entry)
        if mail.oauth is not None:
            return UserCredentials(OAUTH, stored=_facts(stored) if stored is not None else None, token=self._token())
        return UserCredentials()

    def _token(self) -> TokenFacts:
        lacking = self._tokens.lacking
        return TokenFacts(found=lacking is None, why=str(lacking) if lacking is not None else "")

    @property
    def lacks_token(self) -> bool:
        """Whether there is no access token now."""
        return self._tokens.lacking is not None

    def expect(self, users: Iterable[User], settings: Settings) -> None:
        """`of` is about to be asked for these: their entries are read together."""
        if uses_storage(settings):
            self._entries.expect(user.key for user in users if secret_name(user, settings) is None)

    def warm(self, users: Iterable[User], settings: Settings) -> None:
        """The users are about to come: their entries are read now."""
        if uses_storage(settings):
            self._entries.fetch(user.key for user in users if secret_name(user, settings) is None)

    def doubt(self, user: User) -> None:
        """What is kept of the user's is refused, or was of no use: the next `of` reads it again."""
        self._secrets.forget(user.name)
        self._entries.reread(user.key)

    def forget(self, key: UserKey, push_user: str | None) -> None:
        """The user has left this pod, and the password with the user."""
        self._entries.forget(key)
        self._marks.forget(key)
        if push_user is not None:
            self._secrets.forget(push_user)

    def worked(self, entry: Entry | None, at: float) -> None:
        """A mail server has taken the password of `entry`, at `at` seconds since 1970."""
        if entry is not None and (entry.refused or at - self._as_held(entry).worked >= WORKED_SECONDS):
            self._marks.worked(self._as_held(entry))

    def refused(self, entry: Entry | None) -> None:
        """A mail server has refused it."""
        if entry is not None:
            self._marks.refused(self._as_held(entry))

    def _as_held(self, entry: Entry) -> Entry:
        held = self._entries.held(entry.key)
        return held if held is not None and held.password == entry.password else entry


def uses_storage(settings: Settings) -> bool:
    """Whether passwords of the credential storage are used at all."""
    mail = settings.mail
    return settings.credential_storage.enabled is True and mail is not None and mail.password_source == "session"  # noqa: S105


def _facts(stored: Stored) -> StoredFacts:
    return StoredFacts(stored.state.value)
