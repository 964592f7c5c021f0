import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from mailpush.listener.mails import callback
from mailpush.listener.mails.callback import Ingress, authorized
from mailpush.names import CALLBACK_PATH
from mailpush.notifications.notification import NewMail
from mailpush.properties.settings import CallbackSettings

EVENT: dict[str, Any] = {
    "user": "3@1",
    "event": "messageNew",
    "folder": "INBOX",
    "imap-uidvalidity": 1795414682,
    "imap-uid": 3,
    "from": "=?utf-8?Q?Alice_=C3=84?= <alice@example.org>",
    "subject": "hello 0",
    "snippet": "Body line one, grüße. Second line.",
    "unseen": 3,
}


@dataclass
class Login:
    now: CallbackSettings

    def callback_login(self) -> CallbackSettings:
        return self.now


@dataclass
class Logins:
    """The users of a site by login; `named_by_login` is its setting."""

    named_by_login: bool = True
    knows_users: bool = True

    def user_by_login(self, login: str) -> tuple[int, int] | None:
        return (1, 7) if self.named_by_login and login == "anna@example.org" else None


@dataclass
class Queue:
    taken: list[NewMail] = field(default_factory=list)
    room: bool = True

    def offer(self, mail: NewMail) -> bool:
        if self.room:
            self.taken.append(mail)
        return self.room


@dataclass
class Site:
    session: aiohttp.ClientSession
    ingress: Ingress
    login: Login
    queue: Queue
    logins: Logins

    @property
    def taken(self) -> list[NewMail]:
        return self.queue.taken

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.ingress.port}"

    async def put(
        self, body: bytes | dict[str, Any], auth: tuple[str, str] | None = ("ntf", "pä55")
    ) -> tuple[int, dict[str, Any], str | None]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": basic(*auth)} if auth else {}
        async with self.session.put(self.base + CALLBACK_PATH, data=data, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers.get("Connection")


def basic(login: str, password: str) -> str:
    return "Basic " + b64encode(f"{login}:{password}".encode()).decode()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    queue = Queue()
    login = Login(CallbackSettings("ntf", "pä55"))
    logins = Logins()
    ingress = Ingress(login, queue, logins=logins)
    await ingress.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        yield Site(session, ingress, login, queue, logins)
    await ingress.close()


async def test_a_callback_is_taken_and_answered_as_ox_does(site: Site) -> None:
    status, answer, _ = await site.put(EVENT)
    assert (status, answer) == (200, {"success": True})
    assert [(mail.user_id, mail.context_id, mail.uid, mail.displayname) for mail in site.taken] == [
        (3, 1, 3, "Alice Ä")
    ]


@pytest.mark.parametrize(
    "change", [{"event": "messageExpunge"}, {"event": None}, {"user": "alice"}, {"user": ""}, {"user": "0@1"}]
)
async def test_other_events_and_users_are_answered_with_success_and_nothing_happens(
    site: Site, change: dict[str, Any]
) -> None:
    status, answer, _ = await site.put(EVENT | change)
    assert (status, answer) == (200, {"success": True})
    assert site.taken == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b" \n", "missing request body"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b"\xff\xfe", "JSON"),
        (json.dumps({**EVENT, "folder": None}).encode(), "folder"),
        (json.dumps({**EVENT, "imap-uid": "x"}).encode(), "imap-uid"),
        (json.dumps({key: value for key, value in EVENT.items() if key != "user"}).encode(), "user"),
    ],
)
async def test_a_body_that_is_no_callback_is_a_bad_request(site: Site, body: bytes, words: str) -> None:
    with capture_logs() as logs:
        status, answer, _ = await site.put(body)
    assert status == 400
    assert words in answer["error"]
    assert [each["error"] for each in logs if each["event"] == "callback_malformed"] == [answer["error"]]
    assert site.taken == []


@pytest.mark.parametrize("auth", [None, ("ntf", "wrong"), ("other", "pä55"), ("", ""), ("ntf", ""), ("ntf", "pä55 ")])
async def test_without_the_right_login_nobody_is_let_in(site: Site, auth: tuple[str, str] | None) -> None:
    status, answer, _ = await site.put(EVENT, auth)
    assert status == 401
    assert "pä55" not in str(answer)
    assert site.taken == []


@pytest.mark.parametrize("login", ["", "ntf"])
async def test_empty_settings_let_nobody_in(site: Site, login: str) -> None:
    site.login.now = CallbackSettings(login, "")
    assert (await site.put(EVENT, (login, "")))[0] == 401


async def test_a_changed_password_counts_from_the_next_request_on(site: Site) -> None:
    site.login.now = CallbackSettings("ntf", "new")
    assert (await site.put(EVENT))[0] == 401
    assert (await site.put(EVENT, ("ntf", "new")))[0] == 200


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer x", "basic " + b64encode(b"ntfpw").decode(), "é"])
def test_a_broken_authorization_is_none(header: str) -> None:
    assert not authorized(header, CallbackSettings("ntf", "pw"))


async def test_only_put_is_taken(site: Site) -> None:
    for method in ("POST", "GET", "DELETE"):
        async with site.session.request(method, site.base + CALLBACK_PATH) as answer:
            assert answer.status == 405


@pytest.mark.parametrize("told", [True, False])
async def test_a_body_that_is_too_long_is_refused(site: Site, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback, "MAX_SENT", 64 * 1024)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b" " * 1024

    data: Any = b" " * 80 * 1024 if told else chunks()
    headers = {"Authorization": basic("ntf", "pä55")}
    async with site.session.put(site.base + CALLBACK_PATH, data=data, headers=headers) as answer:
        assert answer.status == 413
    assert (await site.put(EVENT))[0] == 200, "and it goes on"


@pytest.mark.parametrize("name", ["from", "subject", "snippet"])
@pytest.mark.parametrize("size", [70_000, 2_000_000])
async def test_a_field_of_any_length_is_cut_and_notified(site: Site, name: str, size: int) -> None:
    status, answer, connection = await site.put(EVENT | {name: "ä" * size + " <alice@example.org>"})
    assert (status, answer, connection) == (200, {"success": True}, None)
    (mail,) = site.taken
    assert (mail.user_id, mail.context_id, mail.uid, mail.uidvalidity) == (3, 1, 3, 1795414682)
    shown = {"from": mail.displayname, "subject": mail.subject, "snippet": mail.teaser}[name]
    assert shown is not None
    assert set(shown) == {"ä"}
    assert len(shown) == {"from": 256, "subject": 998, "snippet": 1000}[name]


async def test_without_room_there_is_no_answer_so_that_dovecot_asks_once_more(site: Site) -> None:
    """It was a 503, which Dovecot does not repeat, although another pod had room."""
    site.queue.room = False
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await site.put(EVENT)
    assert await ready(site) == 200
    site.queue.room = True
    assert (await site.put(EVENT))[0] == 200


async def test_while_draining_it_is_not_ready_and_still_takes_callbacks(site: Site) -> None:
    assert await ready(site) == 200
    assert (await site.put(EVENT))[2] is None
    site.ingress.drain()
    assert await ready(site) == 503
    status, _, connection = await site.put(EVENT)
    assert (status, connection) == (200, "close")
    assert len(site.taken) == 2


async def test_an_answer_does_not_wait_for_what_becomes_of_the_mail(site: Site) -> None:
    """`offer` is a plain function: there is nothing that could be awaited. Many at once are all answered."""
    statuses = await asyncio.gather(*(site.put(EVENT | {"imap-uid": uid}) for uid in range(1, 101)))
    assert {status for status, _, _ in statuses} == {200}
    assert len(site.taken) == 100


async def ready(site: Site) -> int:
    async with site.session.get(site.base + "/readyz") as answer:
        return answer.status


@pytest.mark.parametrize(
    ("by_login", "user", "key", "outcome"),
    [
        (True, "anna@example.org", (1, 7), "accepted"),
        (True, "3@1", (1, 3), "accepted"),
        (True, "nobody@example.org", None, "unknown_login"),
        (False, "anna@example.org", None, "unknown_user_form"),
    ],
)
async def test_a_user_is_found_by_login_where_the_site_says_so(
    site: Site, by_login: bool, user: str, key: tuple[int, int] | None, outcome: str
) -> None:
    site.logins.named_by_login = by_login
    before = REGISTRY.get_sample_value("mailpush_callbacks_total", {"outcome": outcome}) or 0.0
    status, answer, _ = await site.put(EVENT | {"user": user})
    assert (status, answer) == (200, {"success": True})
    assert [(mail.context_id, mail.user_id) for mail in site.taken] == ([] if key is None else [key])
    assert REGISTRY.get_sample_value("mailpush_callbacks_total", {"outcome": outcome}) == before + 1


@pytest.mark.parametrize(("by_login", "status"), [(True, 503), (False, 200)])
async def test_a_pod_that_is_to_find_users_by_login_is_ready_when_it_has_read_them(
    site: Site, by_login: bool, status: int
) -> None:
    site.logins.named_by_login, site.logins.knows_users = by_login, False
    async with site.session.get(f"{site.base}/readyz") as answer:
        assert answer.status == status
    site.logins.knows_users = True
    async with site.session.get(f"{site.base}/readyz") as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("callbacks", "lasts"), [([], 4.0), ([2.5], 4.5), ([3.0, 4.9], 6.9), ([float(at) for at in range(1, 20)], 10.0)]
)
async def test_the_port_stays_open_while_callbacks_come(callbacks: list[float], lasts: float, site: Site) -> None:
    """A refused connection makes Dovecot hold up the next deliveries, twice as long with each: 6.35 s after seven."""
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        until = now + seconds
        while callbacks and callbacks[0] <= until:
            now = callbacks.pop(0)
            await replace(site, ingress=ingress).put(EVENT)
        now = until

    ingress = Ingress(site.login, site.queue, clock=lambda: now, sleep=sleep)
    await ingress.start("127.0.0.1", 0)
    ingress.drain()
    await ingress.linger(4.0, 10.0)
    await ingress.close()
    assert now == pytest.approx(lasts)
