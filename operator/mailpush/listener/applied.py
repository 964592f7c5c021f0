"""The settings that this pod runs by, and the parts that follow them."""

import asyncio
from typing import Final

from mailpush.credentials.current_tokens import CurrentTokens
from mailpush.decision import POD_EXCLUDED, site_facts
from mailpush.doveadm.current import CurrentDoveadm
from mailpush.listener.admin import PodAdmin
from mailpush.listener.catchup.current import CurrentCheckpoints
from mailpush.listener.environment import ordinal
from mailpush.listener.mails.inbox import Inbox
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.mechanisms.registry import MechanismRegistry
from mailpush.listener.settings_watch import Loaded
from mailpush.listener.shards.lease import LeaseKeeper
from mailpush.listener.shards.loop import Shards
from mailpush.listener.users.pod_storage import PodStorage
from mailpush.listener.users.reader import UserReader
from mailpush.listener.users.site import Site
from mailpush.listener.users.supervisor import Supervisor
from mailpush.listener.users.watch import Users
from mailpush.notifications.claims.current import CurrentClaims
from mailpush.notifications.dispatcher import Dispatcher
from mailpush.notifications.targets import webhook_targets
from mailpush.properties.settings import CallbackSettings, Settings
from mailpush.sharding.shardmap import FORMAT_VERSION

STARTING: Final = "UsersNotListed"


class AppliedSettings:
    """Swaps all settings in one step and reports on the Lease which ones run."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        pod: str,
        keeper: LeaseKeeper,
        users: Users,
        reader: UserReader,
        shards: Shards,
        supervisor: Supervisor,
        dispatcher: Dispatcher,
        inbox: Inbox,
        claims: CurrentClaims,
        checkpoints: CurrentCheckpoints,
        storage: PodStorage,
        admin: PodAdmin,
        budget: ConnectBudget,
        tokens: CurrentTokens,
        doveadm: CurrentDoveadm,
    ) -> None:
        self._loaded = loaded
        self._pod = pod
        self._keeper = keeper
        self._users = users
        self._reader = reader
        self._shards = shards
        self._supervisor = supervisor
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._claims = claims
        self._checkpoints = checkpoints
        self._storage = storage
        self._admin = admin
        self._mechanisms = MechanismRegistry(checkpoints.checkpoints, budget, tokens, doveadm)
        self._trouble = ""
        self._targets = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()

    @property
    def settings(self) -> Settings:
        """Those that count now."""
        return self._loaded.settings

    def begin(self) -> None:
        """Puts the settings that the pod has booted from into force."""
        # A callback that names a user by login reaches any pod, and is brought to the owner from there.
        self._reader.want_everybody(self.named_by_login)
        self._supervisor.apply(self._site())
        self._report("")

    def apply(self, loaded: Loaded) -> None:
        """Puts new settings into force; who is not concerned goes on undisturbed."""
        self._loaded = loaded
        self.begin()
        for change in (self._replace_targets(), self._admin.use(loaded.settings)):
            task = asyncio.create_task(change)
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    def problem(self, reason: str | None) -> None:
        """New settings cannot be run, or (None) no more. The last good ones go on, so the pod stays capable."""
        self._report(reason or "")

    def users_listed(self) -> None:
        """Users have been read: from now on the pod can take their slots."""
        self._report(self._trouble)
        self._shards.wake()

    def storage_changed(self) -> None:
        """The credential storage has become another, or does well or badly all of a sudden."""
        if self._storage.mismatch or not self._storage.trouble:  # else what runs goes on, and who begins is told
            if self._storage.renewed():
                self._supervisor.look_at_all()
            else:
                self._supervisor.look_at_waiting()
        self._report(self._trouble)

    def callback_login(self) -> CallbackSettings:
        """The login of Dovecot's callbacks that counts now."""
        return self._loaded.settings.callback

    @property
    def named_by_login(self) -> bool:
        """Whether Dovecot's callbacks may name a user by login."""
        return self._loaded.settings.dovecot.user_form == "login"

    @property
    def knows_users(self) -> bool:
        """Whether all users have been read, so that each is found by login."""
        return self._reader.knows_all()

    def user_by_login(self, login: str) -> tuple[int, int] | None:
        """Context and user of a login; None where no user has it, several have, or logins do not count."""
        settings = self._loaded.settings
        if not self.named_by_login or settings.mail is None:
            return None
        return self._users.by_login(login, settings.mail.login_source)

    async def close(self) -> None:
        for task in self._background:
            task.cancel()
        if self._background:
            await asyncio.wait(self._background)

    async def _replace_targets(self) -> None:
        async with self._targets:
            await self._claims.use(self._loaded.settings)
            await self._checkpoints.use(self._loaded.settings)
            await self._storage.use(self._loaded.settings)
            await self._dispatcher.replace_targets(webhook_targets(self._loaded.settings), self._inbox.give_back)

    def _site(self) -> Site:
        settings = self._loaded.settings
        return Site(
            settings,
            site_facts(settings),
            self._mechanisms.by(settings),
            settings.unregister,
            settings.leaves_registrations,
            pod=self._pod,
            pod_allowed=self._allowed(),
        )

    def _allowed(self) -> bool:
        """Whether this pod may run permanent listeners, by `listeners.podOverrides`."""
        return self._loaded.settings.allowed_in(ordinal(self._pod))

    def _report(self, reason: str) -> None:
        """A pod is capable if it can run listeners now, even when the settings allow no user: the owner then says so on
        each user. One that has not read the users of its slots yet is not, since whoever gave it slots would release
        them before it can start. One that takes no users while others may is not either: its slots move away. So do
        those of one with another passcrypt than the credential storage, as long as there is a pod to take them.
        """
        self._trouble = reason
        excluded = self._loaded.settings.allowed_somewhere and not self._allowed()
        listed = self._reader.ready()
        incapable = POD_EXCLUDED if excluded else self._storage.incapable
        self._keeper.update(
            config_hash=self._loaded.config_hash or None,
            capable=listed and incapable is None,
            reason=(incapable or reason) if listed or excluded else STARTING,
            packages=self._loaded.settings.packages,
            formats=frozenset({FORMAT_VERSION}),
            signs=True,
            # With the hash, in one write: the operator takes the end of a rotation for that of these settings.
            rotation=self._storage.rotation_under(self._loaded.settings),
            migration=self._storage.migration_under(self._loaded.settings),
        )
