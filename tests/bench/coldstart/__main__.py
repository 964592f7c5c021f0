"""The same cold starts as the scene `stale` of `make credentials`, of more users: only what concerns them runs.

It stands among the tests, for it needs the product and `dev/`, which must not import the product.
"""

import argparse
import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dev.services import Dovecot, Redis
from tests.bench.coldstart.pod import stored_in
from tests.credentials.coldstart import FAILURE_DELAY, SESSIONS, ColdStart, LoginLog, Play, let_in
from tests.credentials.verdict import Verdict

PODS = 3
BATCH = 500


class Pods:
    """Processes that listen for all users, with what they need."""

    def __init__(self, logins: dict[int, str], dovecot: Dovecot, redis: Redis) -> None:
        self.log = LoginLog(dovecot)
        self.pods = PODS
        self._logins = logins
        self._dovecot = dovecot
        self._redis = redis
        self._passcrypt = secrets.token_urlsafe(24)
        self._running: list[subprocess.Popen[bytes]] = []

    def cold_start(self, wanted: set[str], *, stale: str | None = None, fresh: bool = False) -> ColdStart:
        self.lose()
        self._dovecot.stop()
        if fresh:
            asyncio.run(self._put_anew())
        if stale is None:
            self._dovecot.start()
        else:
            self._dovecot.change_password(stale, secrets.token_urlsafe(18))
        place = self.log.end()
        orders = {
            "files": self._files(),
            "redis": self._redis.url,
            "pods": PODS,
            "logins": [self._logins[number] for number in sorted(self._logins)],
        }
        for pod in range(PODS):
            self._running.append(
                subprocess.Popen((sys.executable, "-m", "tests.bench.coldstart.pod"), stdin=subprocess.PIPE)
            )
            stdin = self._running[-1].stdin
            assert stdin is not None
            stdin.write(json.dumps({**orders, "pod": pod}).encode())
            stdin.close()
        return let_in(self.log, place, wanted)

    def marked_refused(self) -> int:
        return asyncio.run(self._marked_refused())

    def lose(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        self._running = []

    async def _put_anew(self) -> None:
        stored = stored_in(self._redis.url, self._passcrypt)
        for password in (secrets.token_urlsafe(18), self._dovecot.password):
            await stored.put_many({(1, number): password for number in self._logins})

    async def _marked_refused(self) -> int:
        stored = stored_in(self._redis.url, self._passcrypt)
        keys = [(1, number) for number in self._logins]
        found = [
            entry
            for start in range(0, len(keys), BATCH)
            for entry in (await stored.entries(keys[start : start + BATCH])).values()
        ]
        return sum(bool(entry.refused) for entry in found)

    def _files(self) -> dict[str, str]:
        return {
            "mail-push-listener.properties": f"""
mailpush.packages=open-xchange-push-dovecot
mailpush.mail.servers=default
mailpush.mail.server.default.host={self._dovecot.host}
mailpush.mail.server.default.port={self._dovecot.imap_port}
mailpush.mail.server.default.security=none
""",
            "mail.properties": "com.openexchange.mail.passwordSource=session\n",
            "mail-push.properties": "com.openexchange.push.credstorage.enabled=true\n",
            "mail-push-secrets.properties": f"com.openexchange.push.credstorage.passcrypt={self._passcrypt}\n",
        }


@contextmanager
def pods(logins: dict[int, str]) -> Iterator[Pods]:
    # The callback is never used: no mail comes.
    with (
        Dovecot.launch(["http://127.0.0.1:9/"], failure_delay=FAILURE_DELAY, sessions=SESSIONS) as dovecot,
        Redis.launch(password=secrets.token_urlsafe(18)) as redis,
    ):
        dovecot.password = secrets.token_urlsafe(18)
        running = Pods(logins, dovecot, redis)
        try:
            yield running
        finally:
            running.lose()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.coldstart", description=__doc__)
    parser.add_argument("--users", type=int, default=10_000)
    verdict, started = Verdict("stale"), time.monotonic()
    play = Play(parser.parse_args().users)
    with pods(play.logins) as site:
        play.run(verdict, site)
    print(json.dumps({"seconds": round(time.monotonic() - started), **verdict.figures()}))
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
