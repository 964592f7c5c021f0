"""What a pod's admin endpoint does with stored credentials: of anybody, encrypted, and with one careful login."""

from contextlib import suppress
from typing import Any, cast

import httpx
import pytest

from mailpush.admin.errors import AdminError
from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.ox.rules import Form, Refusal, SchemaRefusedError
from mailpush.credentials.ox.writes import Change, Outcome
from mailpush.credentials.storage import Entry, StorageUnavailableError, WriteRefusedError
from mailpush.credentials.stored import StoredCredentials, StoredState, StoreState
from mailpush.kube.client import Kube
from mailpush.kube.errors import UnreachableError
from mailpush.listener.admin import PodAdmin, PodUsers
from mailpush.listener.mechanisms.budget import ConnectBudget
from mailpush.listener.users.pod_credentials import _REASONS, PodCredentials
from mailpush.listener.users.trials import EVERY_SECONDS, Trials
from mailpush.properties.admin import LOGIN, PASSWORD
from mailpush.properties.format import dump
from mailpush.properties.settings import Settings
from tests.sites.fakekube import FakeKube
from tests.sites.imapserver import FakeImap, fake_imap
from tests.unit.credentials.memory import FaultyStorage
from tests.unit.listener.people import FILES, push_user, settings

KEY = (1, 3)
PLANTED = "pl4nted-zebra"


def at(imap: FakeImap | None, **more: str) -> Settings:
    port = imap.port if imap is not None else 143
    place = f"""
mailpush.packages=open-xchange-push-dovecot
mailpush.mail.servers=default
mailpush.mail.server.default.host=127.0.0.1
mailpush.mail.server.default.port={port}
mailpush.mail.server.default.security=none
"""
    return settings(FILES | {"mail-push-listener.properties": place} | more)


class Scene:
    def __init__(self, imap: FakeImap | None = None, passcrypt: str = "right", storage: FaultyStorage | None = None):
        self.storage = storage or FaultyStorage()
        self.kube = FakeKube()
        self.kube.objects["pushusers", "main-1-3"] = push_user(3)
        self.now = 1000.0
        self.budget = ConnectBudget(clock=lambda: self.now)
        self.changed: list[tuple[int, int]] = []
        self.stored = StoredCredentials(self.storage, Cipher(Passcrypt(passcrypt)), clock=lambda: 1_800_000_000.0)
        self.credentials = PodCredentials(
            cast("Kube", self.kube), "mail", "main", at(imap), Trials(self.budget, lambda: self.now),
            stored=lambda: self.stored, changed=self.changed.append, now=lambda: 1_800_000_000.0 + self.now - 1000.0,
        )  # fmt: skip

    async def refused(self, key: tuple[int, int] = KEY) -> AdminError:
        with pytest.raises(AdminError) as error:
            await self.credentials.test(key)
        return error.value


async def test_what_is_put_stands_encrypted_and_the_listener_here_learns_of_it_once() -> None:
    scene = Scene()
    became = await scene.credentials.put({KEY: PLANTED, (1, 4): "a\nb", (2, 9): "other"})
    assert [(key, one.stored, bool(one.refusal)) for key, one in became.items()] == [
        (KEY, True, False),
        ((1, 4), False, True),
        ((2, 9), True, False),
    ]
    assert scene.changed == [KEY, (2, 9)]
    assert PLANTED not in scene.storage.entries[KEY].password
    assert not (await scene.credentials.put({KEY: PLANTED}))[KEY].stored
    assert scene.changed == [KEY, (2, 9)], "nothing has changed"
    told = await scene.credentials.get(KEY)
    assert told == (1, 3, "usable", 1_800_000_000, 0, 0)
    assert [tuple(one) for one in await scene.credentials.page(None, 10)] == [
        (1, 3, "encrypted", 1_800_000_000, 0, 0),
        (2, 9, "encrypted", 1_800_000_000, 0, 0),
    ]
    assert await scene.credentials.delete(KEY)
    assert scene.changed[2:] == [KEY]
    assert not await scene.credentials.delete(KEY)
    assert scene.changed[2:] == [KEY]
    assert await scene.credentials.get(KEY) is None


async def test_many_are_read_by_one_question_to_the_store_and_derive_one_key() -> None:
    cipher = Cipher(Passcrypt("right"))
    scene = Scene()
    scene.stored = StoredCredentials(scene.storage, cipher)
    await scene.credentials.put({(1, user): f"p{user}" for user in range(1, 501)})
    assert scene.storage.asked_for("get_many", "get") == 1
    assert scene.storage.asked_for("put") == len(scene.storage.entries) == 500
    assert cipher.derivations == 1


async def test_where_the_store_goes_away_in_the_middle_it_is_not_asked_for_each_of_the_rest() -> None:
    scene = Scene()
    await scene.stored.open()
    scene.storage.down_after = len(scene.storage.asked) + 20
    with pytest.raises(StorageUnavailableError):
        await scene.credentials.put({(1, user): "x" for user in range(1, 501)})
    assert len(scene.storage.entries) <= 20
    scene.storage.down_after = None
    await scene.stored.open()
    assert (
        await scene.credentials.put({(1, user): "x" for user in range(1, 501)})
    ).keys() == scene.storage.entries.keys()


async def test_without_a_storage_it_says_what_to_set() -> None:
    scene = Scene()
    off = PodCredentials(cast("Kube", scene.kube), "mail", "main", at(None), Trials(scene.budget), stored=lambda: None,
                         changed=scene.changed.append)  # fmt: skip
    operations = (off.put({KEY: "x"}), off.get(KEY), off.delete(KEY), off.test(KEY), off.page(None, 1))
    for operation in operations:
        with pytest.raises(AdminError, match=r"credentialStorage\.enabled") as refused:
            await operation
        assert refused.value.status == 409


async def test_under_another_passcrypt_nothing_is_told_written_or_tried() -> None:
    first = Scene()
    await first.credentials.put({KEY: PLANTED})
    before = dict(first.storage.entries)
    async with fake_imap() as imap:
        scene = Scene(imap, passcrypt="wrong", storage=first.storage)
        mine = scene.credentials
        for operation in (mine.put({KEY: "x"}), mine.get(KEY), mine.delete(KEY), mine.test(KEY), mine.page(None, 1)):
            with pytest.raises(AdminError, match="PasscryptMismatch") as refused:
                await operation
            assert refused.value.status == 409
        assert imap.commands == []
    assert scene.storage.entries == before


async def test_a_password_that_works_is_marked_so() -> None:
    async with fake_imap() as imap:
        imap.password = PLANTED
        scene = Scene(imap)
        await scene.credentials.put({KEY: PLANTED})
        trial = await scene.credentials.test(KEY)
        assert trial.outcome == "worked"
        assert imap.logins == [PLANTED]
        assert scene.storage.entries[KEY].worked == 1_800_000_000
        assert scene.changed == [KEY, KEY], "a listener that waits tries again"


async def test_what_was_refused_just_now_is_tried_in_no_other_pod_either() -> None:
    async with fake_imap() as imap:
        imap.password = "right"
        scene = Scene(imap)
        await scene.credentials.put({KEY: PLANTED})
        await scene.credentials.test(KEY)
        another = Scene(imap, storage=scene.storage)
        error = await another.refused()
        assert (error.status, len(imap.logins)) == (429, 1)
        assert PLANTED not in str(error)
        another.now += EVERY_SECONDS + 1
        assert (await another.credentials.test(KEY)).outcome == "refused"


async def test_a_refused_one_is_tried_again_only_when_its_time_has_come() -> None:
    async with fake_imap() as imap:
        imap.password = "right"
        scene = Scene(imap)
        await scene.credentials.put({KEY: PLANTED})
        trial = await scene.credentials.test(KEY)
        assert (trial.outcome, trial.reason) == ("refused", "AuthenticationFailed")
        assert PLANTED not in str(trial)
        assert scene.storage.entries[KEY].refused == 1_800_000_000, "marked, and not deleted"
        for _ in range(50):
            error = await scene.refused()
            assert error.status == 429
            assert error.retry_after is not None
            assert error.retry_after > 0
        assert len(imap.logins) == 1
        await scene.credentials.put({KEY: "another"})
        assert (await scene.refused()).status == 429, "within the minute, whatever the password"
        scene.now += EVERY_SECONDS + 1
        await scene.credentials.test(KEY)
        assert imap.logins == [PLANTED, "another"]


async def test_a_day_of_asking_is_a_few_dozen_logins() -> None:
    async with fake_imap() as imap:
        imap.password = "right"
        scene = Scene(imap)
        await scene.credentials.put({KEY: PLANTED})
        for _ in range(24 * 60):
            scene.now += 60.0
            with suppress(AdminError):
                await scene.credentials.test(KEY)
        assert 5 < len(imap.logins) <= 60


async def test_a_server_that_is_away_says_nothing_of_the_password() -> None:
    scene = Scene()
    scene.credentials.use(at(FakeImap(port=9)))
    await scene.credentials.put({KEY: PLANTED})
    trial = await scene.credentials.test(KEY)
    assert (trial.outcome, trial.reason) == ("unknown", "ServerUnreachable")
    assert scene.storage.entries[KEY].refused == 0


async def test_what_keeps_a_test_from_being_made_is_said() -> None:
    scene = Scene()
    assert (await scene.refused()).status == 404, "nothing is stored"
    await scene.credentials.put({KEY: PLANTED, (1, 5): PLANTED})
    nobody = await scene.refused((1, 5))
    assert (nobody.status, "There is no PushUser main-1-5" in nobody.sentence) == (409, True)
    scene.kube.fail = UnreachableError("no answer")
    assert (await scene.refused()).status == 503


def test_each_state_without_a_password_has_its_reason() -> None:
    assert set(_REASONS) == set(StoredState) - {StoredState.USABLE}


async def test_only_a_decrypted_password_is_tried() -> None:
    async with fake_imap() as imap:
        imap.password = "clear text"
        scene = Scene(imap)
        await scene.stored.open()
        for text, state, reason in (
            ("clear text", "clearText", "ClearTextCredential"),
            ("a" * 64, "undecryptable", "CredentialUndecryptable"),
            (" ", "missing", "CredentialsMissing"),
        ):
            scene.storage.entries[KEY] = Entry(*KEY, text)
            trial = await scene.credentials.test(KEY)
            assert (trial.outcome, trial.reason) == ("unknown", reason)
            assert not text.strip() or text not in str(trial)
            assert (await scene.credentials.get(KEY) or ("",) * 3)[2] == state
        assert imap.commands == []


async def test_nothing_is_deleted_from_a_table_of_others() -> None:
    scene = Scene()
    scene.stored = StoredCredentials(scene.storage, Cipher(Passcrypt("right")), foreign=True)
    scene.storage.entries[KEY] = Entry(*KEY, Cipher(Passcrypt("right")).encrypt_legacy(PLANTED))
    with pytest.raises(AdminError, match="OX") as refused:
        await scene.credentials.delete(KEY)
    assert refused.value.status == 409
    assert KEY in scene.storage.entries
    with pytest.raises(AdminError, match="only read: change the password in OX") as refused:
        await scene.credentials.put({KEY: "another"})
    assert refused.value.status == 409


class Table(FaultyStorage):
    """OX's table; `outcome`: what becomes of what is written to it."""

    form = Form.LEGACY

    def __init__(self, outcome: Outcome | WriteRefusedError) -> None:
        super().__init__()
        self.outcome = outcome

    async def write(self, changes: dict[tuple[int, int], Change]) -> dict[tuple[int, int], Outcome | WriteRefusedError]:
        self._ask("write")
        return dict.fromkeys(changes, self.outcome)


@pytest.mark.parametrize(
    ("outcome", "status", "sentence"),
    [
        (SchemaRefusedError(Refusal.TASK_DONE, "oxdatabase_5"), 409, 'form to "argon" (UpdateTaskDone)'),
        (SchemaRefusedError(Refusal.UPDATING, "oxdatabase_5"), 409, "wait until its update is done"),
        (WriteRefusedError("others hold it", "Busy", again=True), 503, "others hold it"),
        (Outcome.OTHERWISE, 503, "try again"),
        (Outcome.TOO_LONG, 422, "does not fit the column"),
        (Outcome.NO_CONTEXT, 422, "OX has no context 1"),
    ],
)
async def test_what_ox_table_does_not_take_is_told_with_what_to_do(
    outcome: Outcome | WriteRefusedError, status: int, sentence: str
) -> None:
    scene = Scene()
    scene.stored = StoredCredentials(Table(outcome), Cipher(Passcrypt("right")), foreign=True)
    put = (await scene.credentials.put({KEY: PLANTED}))[KEY]
    assert (put.stored, put.status) == (False, status)
    assert sentence in put.refusal
    assert PLANTED not in put.refusal
    assert scene.stored.state is StoreState.READY


async def test_a_password_that_ox_table_has_taken_is_told_to_the_listener() -> None:
    scene = Scene()
    scene.stored = StoredCredentials(Table(Outcome.WRITTEN), Cipher(Passcrypt("right")), foreign=True)
    assert (await scene.credentials.put({KEY: PLANTED}))[KEY].stored
    assert scene.changed == [KEY]


async def test_over_http_it_is_all_one() -> None:
    class Nobody:
        def listening(self) -> list[tuple[int, int]]:
            return []

    async with fake_imap() as imap:
        imap.password = "right"
        scene = Scene(imap)
        login: dict[str, Any] = {LOGIN: "oxadmin", PASSWORD: "secret"}
        let_in = at(imap, **{"mail-push-admin.properties": dump(login, "test")})
        users = PodUsers(cast("Kube", scene.kube), "mail", "main", Nobody())
        admin = PodAdmin(users, let_in, scene.credentials)
        await admin.start("127.0.0.1", 0)
        url = f"http://127.0.0.1:{admin.port}/admin/v1/credentials"
        try:
            async with httpx.AsyncClient(auth=("oxadmin", "secret"), trust_env=False, timeout=60) as client:
                assert (await client.put(f"{url}/1/3", json={"password": PLANTED})).status_code == 200
                assert (await client.post(f"{url}/1/3/test")).json()["outcome"] == "refused"
                shown = (await client.get(f"{url}/1/3")).json()
                assert (shown["state"], shown["worked"]) == ("usable", None)
                assert shown["refused"] == "2027-01-15T08:00:00Z"
                scene.storage.down = True
                assert (await client.put(f"{url}/1/3", json={"password": "new"})).status_code == 503
        finally:
            await admin.close()
