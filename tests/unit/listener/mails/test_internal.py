import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest

from mailpush.listener.mails.internal import InternalServer
from mailpush.listener.mails.offer import TakeResult
from mailpush.listener.mails.peers import PeerAnswer, Peers, PeerVerdict, encode_mail
from mailpush.listener.mails.signing import HandoverKeys, KeyUnavailableError, sign, signed_by
from mailpush.names import INTERNAL_EVENTS_PATH
from mailpush.notifications.notification import NewMail
from tests.sites.forward import Forward

KEY = b"k" * 32
MAIL = NewMail(1, 3, "Entwürfe", uid=9, uidvalidity=7, subject="grüße", unread=4)
NOW = 1_800_000_000


@dataclass
class Users:
    """Those of one pod, and which pod has the others."""

    result: TakeResult = TakeResult.TAKEN
    other: str | None = None
    taken: list[NewMail] = field(default_factory=list)

    async def take_over(self, mail: NewMail) -> TakeResult:
        self.taken.append(mail)
        return self.result

    def owner_of(self, slot: int) -> str | None:
        return self.other


class Pods:
    """A map that names two pods, of the version that signs its answers."""

    def stands(self, pod: str) -> bool:
        return pod in {"pod-1", "pod-2"}

    def signs(self, pod: str) -> bool:
        return True


@dataclass
class Owner:
    """A pod that takes events, and a client for it."""

    server: InternalServer
    peers: Peers
    users: Users

    @property
    def taken(self) -> list[NewMail]:
        return self.users.taken

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    users = Users(other="pod-2")
    key = HandoverKeys(lambda: (KEY,))
    server = InternalServer(users, users, key, now=lambda: NOW)
    port = await server.start("127.0.0.1", 0)
    peers = Peers(lambda pod: f"http://127.0.0.1:{port}", key, Pods(), now=lambda: NOW)
    yield Owner(server, peers, users)
    await peers.close()
    await server.close()


async def test_a_mail_reaches_the_pod_that_now_has_the_name_although_the_former_one_still_answers() -> None:
    """As where a pod was deleted by force: the name leads to its successor, a kept connection still to itself."""
    key, none, users = HandoverKeys(lambda: (KEY,)), Users(TakeResult.NOT_MINE), Users()
    former = InternalServer(none, none, key, now=lambda: NOW)
    successor = InternalServer(users, users, key, now=lambda: NOW)
    name = Forward("127.0.0.1", 0, ("127.0.0.1", await former.start("127.0.0.1", 0)))
    peers = Peers(lambda _pod: f"http://127.0.0.1:{name.port}", key, Pods(), now=lambda: NOW)
    try:
        assert (await peers.post("pod-1", MAIL)).verdict is PeerVerdict.NOT_MINE
        name.target = ("127.0.0.1", await successor.start("127.0.0.1", 0))
        assert (await peers.post("pod-1", MAIL)).verdict is PeerVerdict.TAKEN
        assert users.taken == [MAIL]
    finally:
        await peers.close()
        name.close()
        await former.close()
        await successor.close()


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        (TakeResult.TAKEN, PeerAnswer(PeerVerdict.TAKEN)),
        (TakeResult.DENIED, PeerAnswer(PeerVerdict.TAKEN)),
        (TakeResult.UNKNOWN, PeerAnswer(PeerVerdict.UNKNOWN_USER)),
        (TakeResult.NOT_MINE, PeerAnswer(PeerVerdict.NOT_MINE, "pod-2")),
    ],
)
async def test_a_mail_arrives_whole_and_the_sender_learns_what_became_of_it(
    owner: Owner, result: TakeResult, answer: PeerAnswer
) -> None:
    owner.users.result = result
    assert await owner.peers.post("pod-1", MAIL) == answer
    assert owner.taken == [MAIL]


async def test_another_key_is_refused(owner: Owner) -> None:
    stranger = Peers(lambda _: owner.url, HandoverKeys(lambda: (b"x" * 32,)), Pods(), now=lambda: NOW)
    assert await stranger.post("pod-1", MAIL) == PeerAnswer(PeerVerdict.REFUSED)
    await stranger.close()
    assert owner.taken == []


@pytest.mark.parametrize("shift", [-301, 301])
async def test_an_old_request_is_refused(owner: Owner, shift: int) -> None:
    late = Peers(lambda _: owner.url, HandoverKeys(lambda: (KEY,)), Pods(), now=lambda: NOW + shift)
    assert await late.post("pod-1", MAIL) == PeerAnswer(PeerVerdict.REFUSED)
    await late.close()
    assert owner.taken == []


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"\xff", b'{"context_id":"1"}', encode_mail(MAIL).replace(b":9", b':"9"')]
)
async def test_a_signed_body_that_is_no_mail_is_a_bad_request(owner: Owner, body: bytes) -> None:
    headers = {"X-Mail-Push-Timestamp": str(NOW), "X-Mail-Push-Signature": sign(KEY, str(NOW), body)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(owner.url + INTERNAL_EVENTS_PATH, data=body, headers=headers) as answer,
    ):
        assert answer.status == 400
    assert owner.taken == []


async def test_without_a_signature_nobody_is_let_in(owner: Owner) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(owner.url + INTERNAL_EVENTS_PATH, data=encode_mail(MAIL)) as answer,
    ):
        assert answer.status == 401


async def test_a_pod_that_is_not_there_is_unreachable(owner: Owner) -> None:
    await owner.server.close()
    assert await owner.peers.post("pod-1", MAIL) == PeerAnswer(PeerVerdict.UNREACHABLE)


async def test_a_pod_that_does_not_answer_is_unreachable() -> None:
    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    peers = Peers(lambda _: f"http://127.0.0.1:{port}", HandoverKeys(lambda: (KEY,)), Pods(), answer_seconds=0.05)
    assert await peers.post("pod-1", MAIL) == PeerAnswer(PeerVerdict.UNREACHABLE)
    await peers.close()
    server.close()


def test_the_signature_covers_time_and_body() -> None:
    good = sign(KEY, str(NOW), b"body")
    assert signed_by((KEY,), str(NOW), good, b"body", NOW) == KEY
    assert signed_by((b"new" * 10, KEY), str(NOW), good, b"body", NOW + 299) == KEY, "the key before counts too"
    for timestamp, signature, body in [
        (str(NOW + 1), good, b"body"),
        (str(NOW), good, b"bodY"),
        (str(NOW), good[:-1], b"body"),
        (str(NOW), "é", b"body"),
        (f"+{NOW}", sign(KEY, f"+{NOW}", b"body"), b"body"),
        ("٣", sign(KEY, "٣", b"body"), b"body"),
        ("9" * 5000, good, b"body"),
        (None, good, b"body"),
        (str(NOW), None, b"body"),
    ]:
        assert signed_by((KEY,), timestamp, signature, body, NOW) is None


def test_a_key_that_changes_is_taken_and_the_old_one_still_verifies() -> None:
    now, keys = [0.0], [b"a" * 32]
    key = HandoverKeys(lambda: (keys[0],), clock=lambda: now[0])
    assert key.all() == (b"a" * 32,)
    keys[0] = b"b" * 32
    assert key.all() == (b"a" * 32,), "not looked at for each request"
    now[0] += 10
    assert key.all() == (b"b" * 32, b"a" * 32)


def test_a_replaced_key_verifies_only_as_long_as_pods_may_not_have_seen_the_new_one() -> None:
    now, keys = [0.0], [b"a" * 32]
    key = HandoverKeys(lambda: (keys[0],), clock=lambda: now[0])
    key.all()
    keys[0], now[0] = b"b" * 32, 10.0
    assert key.all() == (b"b" * 32, b"a" * 32)
    now[0] = 310.0
    assert key.all() == (b"b" * 32,)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"a" * 32,), (b"a" * 32, b"b" * 32)),
        ((b"a" * 32, b"b" * 32), (b"b" * 32, b"a" * 32)),
        ((b"b" * 32, b"a" * 32), (b"b" * 32,)),
    ],
    ids=["announced", "promoted", "retired"],
)
async def test_pods_on_both_sides_of_a_step_of_the_rotation_take_each_others_mails_at_once(
    one: tuple[bytes, ...], other: tuple[bytes, ...]
) -> None:
    for sender, receiver in ((one, other), (other, one)):
        users, keys = Users(), HandoverKeys(lambda keys=receiver: keys)  # type: ignore[misc]
        server = InternalServer(users, users, keys, now=lambda: NOW)
        port = await server.start("127.0.0.1", 0)
        first = HandoverKeys(lambda keys=sender: keys[:1])  # type: ignore[misc]
        peers = Peers(lambda _, port=port: f"http://127.0.0.1:{port}", first, Pods(), now=lambda: NOW)  # type: ignore[misc]
        try:
            assert await peers.post("pod-1", MAIL) == PeerAnswer(PeerVerdict.TAKEN)
        finally:
            await peers.close()
            await server.close()


def test_a_key_that_is_gone_or_too_short_is_not_used() -> None:
    now, keys = [0.0], [b"a" * 32]
    key = HandoverKeys(lambda: (keys[0],), clock=lambda: now[0])
    key.all()
    keys[0] = b""
    now[0] += 10
    assert key.all() == (b"a" * 32,), "the last good one"
    with pytest.raises(KeyUnavailableError):
        HandoverKeys(lambda: (b"short",)).all()


def test_a_key_that_is_not_mounted_is_said() -> None:
    def missing() -> tuple[bytes, ...]:
        raise FileNotFoundError

    with pytest.raises(KeyUnavailableError, match="operator"):
        HandoverKeys(missing).all()


async def test_a_pod_that_has_not_seen_the_new_key_yet_still_gets_its_mails(owner: Owner) -> None:
    keys, clock = [KEY], [0.0]
    key = HandoverKeys(lambda: (keys[0],), clock=lambda: clock[0])
    peers = Peers(lambda _pod: owner.url, key, Pods(), now=lambda: NOW)
    try:
        key.all()
        keys[0], clock[0] = b"n" * 32, 1000.0
        assert key.all() == (keys[0], KEY)
        assert await peers.post("pod-1", MAIL) == PeerAnswer(PeerVerdict.TAKEN)
        assert owner.taken == [MAIL]
    finally:
        await peers.close()
