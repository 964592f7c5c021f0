"""A listener pod's parts, made in the order in which they need each other.

A mail comes in by the callback (`Ingress`) or from another pod (`InternalServer`), or a mechanism sees it. `Inbox`
keeps each in the journal, `Router` offers it to the `Supervisor` of this pod's users or to the pod that owns its user,
and the `Dispatcher` sends it to each target by a transport, under a claim.

What this pod owns follows from its Lease (`LeaseKeeper`) and the shard map (`Shards`), which start and stop the
supervisor's slots; what of a user runs follows from the PushUser (`Users`) and the settings (`AppliedSettings`).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from mailpush.credentials.current_tokens import CurrentTokens
from mailpush.credentials.named import storage_of
from mailpush.doveadm.current import CurrentDoveadm
from mailpush.http.health import Pulse
from mailpush.kube.client import Kube
from mailpush.listener.admin import PodAdmin, PodUsers
from mailpush.listener.applied import AppliedSettings
from mailpush.listener.catchup.checkpoints import Checkpoints
from mailpush.listener.catchup.current import CurrentCheckpoints
from mailpush.listener.catchup.store import checkpoint_store
from mailpush.listener.catchup.sweep import Sweeper
from mailpush.listener.environment import Environment
from mailpush.listener.mails.callback import Ingress
from mailpush.listener.mails.calls import CallRecord
from mailpush.listener.mails.inbox import Inbox
from mailpush.listener.mails.internal import InternalServer
from mailpush.listener.mails.journal import Journal
from mailpush.listener.mails.open_entries import OpenEntries
from mailpush.listener.mails.peers import Peers
from mailpush.listener.mails.router import Router
from mailpush.listener.mails.signing import HandoverKeys
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.permission import Permission
from mailpush.listener.settings_watch import Loaded, SettingsWatch
from mailpush.listener.shards.lease import LeaseKeeper
from mailpush.listener.shards.lease_watch import LeaseWatch
from mailpush.listener.shards.loop import Shards
from mailpush.listener.troubles import Troubles
from mailpush.listener.users.credentials import Credentials
from mailpush.listener.users.marks import Marks
from mailpush.listener.users.passcrypts import KubePasscrypts
from mailpush.listener.users.pod_credentials import PodCredentials
from mailpush.listener.users.pod_storage import ROTATING_SLOT, PodStorage
from mailpush.listener.users.reader import UserReader
from mailpush.listener.users.registration_book import StatusBook
from mailpush.listener.users.removals import Janitor, Removals, wanted_users
from mailpush.listener.users.secret_reader import UserSecretReader
from mailpush.listener.users.siblings import Siblings
from mailpush.listener.users.status_writer import StatusWriter
from mailpush.listener.users.stored_entries import StoredEntries
from mailpush.listener.users.supervisor import Supervisor
from mailpush.listener.users.trials import Trials
from mailpush.listener.users.watch import Users
from mailpush.notifications.claims.current import CurrentClaims
from mailpush.notifications.claims.owned import OwnedClaims
from mailpush.notifications.dispatcher import Dispatcher
from mailpush.notifications.metrics import NotificationMetrics
from mailpush.notifications.targets import webhook_targets
from mailpush.sharding.rights import Right
from mailpush.work.garbage import LongLived
from mailpush.work.status_budget import StatusBudget


@dataclass(frozen=True, slots=True)
class Parts:
    """What `ListenerProcess` runs and ends."""

    permission: Permission
    keeper: LeaseKeeper
    lease_watch: LeaseWatch
    claims: CurrentClaims
    owned: OwnedClaims
    checkpoints: Checkpoints
    sweeper: Sweeper
    storage: PodStorage
    entries: StoredEntries
    marks: Marks
    removals: Removals
    janitor: Janitor
    dispatcher: Dispatcher
    journal: Journal
    inbox: Inbox
    statuses: StatusWriter
    supervisor: Supervisor
    user_reader: UserReader
    shards: Shards
    peers: Peers
    router: Router
    internal: InternalServer
    admin: PodAdmin
    applied: AppliedSettings
    troubles: Troubles
    ingress: Ingress
    settings_watch: SettingsWatch


def assemble(env: Environment, kube: Kube, loaded: Loaded, boot: Mapping[str, str], pulse: Pulse) -> Parts:
    """All parts; nothing runs yet. Called within the event loop.

    Args:
        loaded: the configuration to begin with. boot: the files that take a restart to change.

    Raises:
        OSError: the journal's folder cannot be used.
    """
    settings = loaded.settings
    right = Right()
    permission = Permission(right, claim_only=settings.redis is not None)
    keeper = LeaseKeeper(kube, env.namespace, env.me, right, secrets.token_hex(8))
    claims = CurrentClaims(settings, env.config_uid)
    # Without a store that all share there is nothing to write, and nobody who could read it.
    owned = OwnedClaims(claims, permission.may_write if settings.redis is not None else lambda: False)
    dispatcher = Dispatcher(
        env.config_uid,
        owned,
        webhook_targets(settings),
        permission.may_send,
        NotificationMetrics(),
        holder=str(keeper.holder),
    )
    journal = Journal(env.journal_dir)
    checkpoints = Checkpoints(checkpoint_store(settings, env.config_uid))
    open_entries = OpenEntries(journal, dispatcher, checkpoints.over)
    calls = CallRecord()
    inbox = Inbox(journal, open_entries)
    long_lived = LongLived()
    users = Users(env.config, came=long_lived.came)
    reader = UserReader(kube, env.namespace, env.config, users)
    budget = StatusBudget(env.status_writes)
    statuses = StatusWriter(kube, env.namespace, env.me.name, users, permission, budget=budget)
    entries = StoredEntries()
    marks = Marks(entries)
    tokens, doveadm = CurrentTokens(), CurrentDoveadm()
    removals = Removals(kube, env.namespace, env.config, entries)
    supervisor = Supervisor(
        users,
        Credentials(UserSecretReader(kube, env.namespace), entries, marks, tokens),
        statuses,
        dispatcher,
        inbox=inbox,
        permission=permission,
        siblings=Siblings(kube, env.namespace, env.config),
        book=StatusBook(kube, env.namespace, budget),
        checkpoints=checkpoints,
        gone=removals.gone,
        came=long_lived.came,
    )
    users.notify(supervisor)
    entries.notify(supervisor.user_changed)
    tokens.notify(supervisor.look_at_waiting)
    storage = PodStorage(
        settings,
        env.config_uid,
        lambda wanted, uid: storage_of(wanted, uid, env.journal_dir, f"{env.namespace}/{env.config}"),
        entries=entries,
        owns=supervisor.owns,
        hash_key=env.hash_key,
        passcrypts=KubePasscrypts(kube, env.namespace, env.config, env.me.name),
    )
    janitor = Janitor(
        entries,
        removals,
        wanted=lambda: wanted_users(kube, env.namespace, env.config),
        # A database may be shared with another MailPushConfig against all advice, whose users this pod does not know.
        may_look=lambda: supervisor.owns(ROTATING_SLOT) and not applied.settings.credential_storage.rdb,
    )
    lease_watch = LeaseWatch(kube, env.namespace, env.config, env.me.name)
    shards = Shards(
        env.me,
        env.config,
        keeper,
        supervisor,
        lease_watch=lease_watch,
        users=reader,
        mails=inbox,
        pulse=pulse,
        sends=owned,
    )
    sweeper = Sweeper(
        checkpoints,
        supervisor,
        settings=lambda: applied.settings.catch_up.sweep,
        pods=shards.pods,
        may_look=permission.may_write,
        missed=calls.missed,
    )
    checkpoints.notify(sweeper.gap)
    shards.notify(sweeper)
    key = HandoverKeys(env.handover_keys)
    peers = Peers(env.peer_url, key, shards)
    router = Router(
        me=env.me.name,
        inbox=inbox,
        open_entries=open_entries,
        own_users=supervisor,
        owners=shards,
        peers=peers,
    )
    connects = ConnectBudget()
    credentials = PodCredentials(
        kube,
        env.namespace,
        env.config,
        settings,
        Trials(connects),
        stored=lambda: storage.stored,
        changed=entries.put_here,
    )
    admin = PodAdmin(PodUsers(kube, env.namespace, env.config, supervisor), settings, credentials)
    applied = AppliedSettings(
        loaded,
        pod=env.me.name,
        keeper=keeper,
        users=users,
        reader=reader,
        shards=shards,
        supervisor=supervisor,
        dispatcher=dispatcher,
        inbox=inbox,
        claims=claims,
        checkpoints=CurrentCheckpoints(checkpoints, settings, env.config_uid),
        storage=storage,
        admin=admin,
        budget=connects,
        tokens=tokens,
        doveadm=doveadm,
    )
    lease_watch.notify(shards)
    storage.notify(applied.storage_changed)
    reader.notify(applied)
    return Parts(
        permission=permission,
        keeper=keeper,
        lease_watch=lease_watch,
        claims=claims,
        owned=owned,
        checkpoints=checkpoints,
        sweeper=sweeper,
        storage=storage,
        entries=entries,
        marks=marks,
        removals=removals,
        janitor=janitor,
        dispatcher=dispatcher,
        journal=journal,
        inbox=inbox,
        statuses=statuses,
        supervisor=supervisor,
        user_reader=reader,
        shards=shards,
        peers=peers,
        router=router,
        internal=InternalServer(router, shards, key),
        admin=admin,
        applied=applied,
        troubles=Troubles(
            keeper,
            applied,
            dispatcher,
            supervisor,
            calls=calls,
            claims=claims,
            storage=storage,
            tokens=tokens,
            doveadm=doveadm,
        ),
        ingress=Ingress(applied, inbox, calls=calls, logins=applied),
        settings_watch=SettingsWatch(
            kube,
            env.namespace,
            env.config,
            boot,
            env.hash_key,
            pod=applied,
            current=loaded,
        ),
    )
