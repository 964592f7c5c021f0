"""A mail site whose users log in with passwords of their own, which the credential storage keeps."""

import json
import secrets
import urllib.error
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import redis

from dev.cluster.controlplane import ControlPlane
from dev.services import MariaDB
from mailpush import names
from mailpush.admin.routes import CREDENTIALS, NDJSON
from tests.credentials.coldstart import LoginLog
from tests.credentials.evidence import Evidence
from tests.credentials.verdict import Verdict
from tests.sites.mail import MailSite, condition
from tests.sites.namespace import Namespace

Store = Literal["memory", "rdb"]
ADMIN: Final = "oxadmin"
DATABASE: Final = "mailpush"
"""And its user."""


class CredentialSite(MailSite):
    """`passwordSource: session` with a storage in `store`. Every mailbox has the password `dovecot.password`."""

    def __init__(
        self, namespace: Namespace, store: Store, evidence: Evidence, *, failure_delay: float = 0, sessions: int = 1
    ) -> None:
        plant = evidence.plant
        redis = plant("the password of Redis", secrets.token_urlsafe(18))
        super().__init__(namespace, failure_delay=failure_delay, redis_password=redis, sessions=sessions)
        self.store = store
        self.logins_log = LoginLog(self.dovecot)
        self.evidence = evidence
        self.mounted: Callable[[Path], None] = lambda _: None
        """Called with each folder that a pod has mounted, before its process starts."""
        self.dovecot.password = plant("the users' password", secrets.token_urlsafe(18))
        self.dovecot.stop()
        self.dovecot.start()
        self.passcrypt = plant("the passcrypt", secrets.token_urlsafe(24))
        self.admin_password = plant("the password of the admin endpoint", secrets.token_urlsafe(18))
        self.database = MariaDB.launch() if store == "rdb" else None
        if self.database:
            password = plant("the password of the database", secrets.token_urlsafe(18))
            self.database.create(DATABASE, DATABASE, password)
            self.secret("database", password=password)
        self.spec = {
            "mailAccess": {
                "passwordSource": "session",
                "servers": [
                    {
                        "name": "default",
                        "host": self.dovecot.host,
                        "port": self.dovecot.imap_port,
                        "security": "starttls",
                        "caSecretRef": {"name": "ca", "key": "ca.crt"},
                    }
                ],
            },
            "credentialStorage": {
                "enabled": True,
                "passcryptSecretRef": {"name": "passcrypt", "key": "passcrypt"},
                "rdb": store == "rdb",
                **({"database": self._database()} if self.database else {}),
            },
            "redis": {
                "url": f"redis://{self.redis.host}:{self.redis.port}/0",
                "passwordSecretRef": {"name": "redis", "key": "password"},
            },
            "admin": {"authSecretRef": {"name": "admin"}},
        }
        self.secret("redis", password=redis)
        self.secret("passcrypt", passcrypt=self.passcrypt)
        self.secret("admin", login=ADMIN, password=self.admin_password)

    def _database(self) -> dict[str, Any]:
        assert self.database is not None
        return {
            "url": f"mysql://{self.database.host}:{self.database.port}/{DATABASE}",
            "username": DATABASE,
            "passwordSecretRef": {"name": "database", "key": "password"},
            "tls": "none",
        }

    # -- passwords

    def put(self, *user_ids: int, password: str | None = None) -> None:
        """Puts the users' password, or another, as a login hook does; at whichever pod answers."""
        line = {"context": 1, "password": password or self.dovecot.password}
        body = "".join(json.dumps({**line, "user": number}) + "\n" for number in user_ids).encode()

        def taken() -> bool:
            answers = self._ask(body)
            return bool(answers) and answers[-1].get("done") is True and not answers[-1].get("refused")

        self.wait_for(f"the passwords of {len(user_ids)} users are put", taken)

    def entries(self) -> list[dict[str, Any]]:
        """What is stored, as the admin endpoint tells of it."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            page = self._get(f"?limit=500{f'&after={after}' if after else ''}")
            found += page["credentials"]
            after = page["next"]
            if after is None:
                return found

    def _ask(self, body: bytes) -> list[dict[str, Any]]:
        try:
            with urllib.request.urlopen(self._request("", body), timeout=120) as answer:
                return [json.loads(line) for line in answer.read().splitlines() if line.strip()]
        except urllib.error.HTTPError as error:
            self.evidence.keep("admin-answers", error.read() + b"\n")
        except OSError:
            pass
        return []

    def _get(self, query: str) -> dict[str, Any]:
        with urllib.request.urlopen(self._request(query, None), timeout=60) as answer:
            content = answer.read()
        self.evidence.keep("admin-answers", content + b"\n")
        return dict(json.loads(content))

    def _request(self, query: str, body: bytes | None) -> urllib.request.Request:
        login = b64encode(f"{ADMIN}:{self.admin_password}".encode()).decode()
        return urllib.request.Request(
            f"http://{self._running_address()}:{names.ADMIN_PORT}{CREDENTIALS}{query}",
            data=body,
            headers={"Authorization": f"Basic {login}", **({"Content-Type": NDJSON} if body else {})},
        )

    def _running_address(self) -> str:
        """Of a pod that runs."""
        running = next(pod for pod in self.pods.values() if self.runs(pod))
        return self.wait_for(f"{running.process} serves", lambda: self.addresses().get(running.process))  # type: ignore[no-any-return]

    def addresses(self) -> dict[str, str]:
        """The addresses on which the processes that run have begun to serve."""
        found = {}
        for pod in self.pods.values():
            lines = [line for line in self.group.read_log(pod.process).splitlines() if '"admin_serves"' in line]
            if lines and self.runs(pod):
                found[pod.process] = str(json.loads(lines[-1])["address"])
        return found

    # -- pods

    def _volume(self, folder: Path, name: str, volumes: list[dict[str, Any]]) -> Path:
        directory = super()._volume(folder, name, volumes)
        self.mounted(directory)
        return directory

    def lose(self, *pod_names: str) -> None:
        """Kills the processes, and takes the Pod objects away by force: the StatefulSet makes others."""
        for name in pod_names:
            self.group.stop(self.pods[name].process, grace=0)
        self.namespace.kubectl("delete", "pod", *pod_names, "--force", "--grace-period=0")

    def replace(self, *pod_names: str) -> None:
        """Loses pods, and starts what comes in their place."""
        self.lose(*pod_names)
        for name in pod_names:
            self.wait_pod(name)
            self.start_pod(name)

    def wait_pod(self, name: str) -> None:
        """Until the StatefulSet has made a Pod object in place of the one that was lost."""
        before = self.pods[name].uid
        self.wait_for(f"another {name}", lambda: self._uid(name) not in (None, before))

    def _uid(self, name: str) -> str | None:
        uid: str | None = (self.namespace.get("pod", name) or {}).get("metadata", {}).get("uid")
        return uid

    # -- what is to be seen

    def reasons(self, *user_ids: int) -> Counter[str]:
        found = self.users()
        return Counter(str(found[number].get("reason")) for number in user_ids)

    def wait_reason(self, reason: str, *user_ids: int, seconds: float = 180) -> None:
        wanted = {reason: len(user_ids)}
        self.wait_for(f"all users say {reason}", lambda: dict(self.reasons(*user_ids)) == wanted, seconds)

    def config_conditions(self) -> dict[str, tuple[str, str, str]]:
        """Status, reason and message of the MailPushConfig's conditions by type."""
        found = (self.namespace.get("mailpushconfig", "main") or {}).get("status", {})
        return {
            one["type"]: (one["status"], one.get("reason", ""), one.get("message", ""))
            for one in found.get("conditions", [])
        }

    def says(self, word: str) -> bool:
        """Whether a condition of the MailPushConfig names it."""
        return any(word in part for one in self.config_conditions().values() for part in one)

    def logins(self, since: int = 0) -> list[tuple[str, str]]:
        """Time and login of each that Dovecot let in, from this place of its log on."""
        return self.logins_log.let_in(since)

    def refused(self, since: int = 0) -> list[tuple[str, str]]:
        """Time and login of each that Dovecot refused."""
        return self.logins_log.refused(since)

    def log_end(self) -> int:
        """The place of Dovecot's log where it ends now."""
        return self.logins_log.end()

    def collect(self) -> None:
        """Hands all that may be read of this site to the evidence."""
        name = self.namespace.name
        self.evidence.keep_logs(name, self.group.folder)
        for service, log in (("dovecot", self.dovecot.log()), ("redis", self.redis.log())):
            self.evidence.keep(f"{name}-{service}", log)
        self.evidence.keep(f"{name}-redis-data", "\n".join(self._redis_data()))
        if self.database:
            self.evidence.keep(f"{name}-mariadb", self.database.log())
            for (table,) in self.database.sql("SHOW TABLES", DATABASE):
                rows = self.database.sql(f"SELECT * FROM {table}", DATABASE)
                self.evidence.keep(f"{name}-mariadb-data", "".join("\t".join(row) + "\n" for row in rows))
        self.evidence.keep_objects(name)
        for process, address in self.addresses().items():
            self.evidence.keep_metrics(process, f"http://{address}:{names.HEALTH_PORT}/metrics")
        self.evidence.keep(f"{name}-notifications", b"\n".join(one.body for one in self.receiver.received))

    def _redis_data(self) -> Iterator[str]:
        """All keys with what they hold."""
        with redis.Redis(host=self.redis.host, port=self.redis.port, password=self.redis.password) as client:
            read: dict[bytes, Callable[[bytes], object]] = {
                b"string": client.get,
                b"hash": client.hgetall,
                b"set": client.smembers,
                b"list": lambda key: client.lrange(key, 0, -1),
                b"zset": lambda key: client.zrange(key, 0, -1),
                b"stream": client.xrange,
            }
            for key in client.scan_iter(count=1000):
                yield f"{key!r} {read[client.type(key)](key)!r}"

    def close(self) -> None:
        super().close()
        if self.database:
            self.database.close()


@dataclass
class Stage:
    """What a scene has: the control plane, a place for what it finds, and sites of its own."""

    name: str
    plane: ControlPlane
    verdict: Verdict
    evidence: Evidence
    users: int
    core_folders: list[Path] = field(default_factory=lambda: [Path.cwd()])

    @contextmanager
    def site(self, store: Store, *, failure_delay: float = 0, sessions: int = 1) -> Iterator[CredentialSite]:
        """A namespace with a site in it; what it has produced becomes evidence."""
        namespace = f"{self.name}-{store}"
        self.plane.kubectl("create", "namespace", namespace, check=True)
        site = CredentialSite(
            Namespace(self.plane, namespace), store, self.evidence, failure_delay=failure_delay, sessions=sessions
        )
        try:
            yield site
        finally:
            self.core_folders.append(site.group.folder)
            self.verdict.step("no process has left a core dump", not list(site.group.folder.glob("core*")))
            if self.evidence.wanted:
                site.collect()
            site.close()
            self.plane.kubectl("delete", "namespace", namespace, "--wait=false")

    def told(self, site: CredentialSite, what: str, user_ids: Iterable[int]) -> None:
        """A mail to each user, each told once."""
        subjects = []
        for number in user_ids:
            subjects.append(f"{self.name} {what} {number}")
            site.dovecot.deliver(f"u{number}", subject=subjects[-1])
        try:
            site.told_once(subjects)
        except AssertionError as error:
            self.verdict.step(f"{what}: each of {len(subjects)} mails is told once", False, str(error)[:300])
        else:
            self.verdict.step(f"{what}: each of {len(subjects)} mails is told once", True)


def listening(statuses: dict[int, dict[str, Any]], user_ids: Iterable[int]) -> bool:
    """Whether somebody listens for all of them."""
    return all(condition(statuses[number], "Listening") == "True" for number in user_ids)
