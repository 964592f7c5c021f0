"""Whatever OX does to its table between writes: no row of a form that its OX does not read, no other row touched."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dev.services import MariaDB
from mailpush.credentials.cipher import Cipher, Passcrypt
from mailpush.credentials.ox.table import ox_table
from mailpush.credentials.passwords import PasswordRefusedError
from mailpush.credentials.storage import WriteRefusedError
from mailpush.credentials.stored import StoredCredentials
from mailpush.properties.settings import DatabaseSettings, OxCredentialSettings
from tests.sites.ox_cipher import read_argon, read_legacy, write_argon, write_legacy
from tests.sites.ox_databases import CHEAP, OX_PASSWORD, PASSCRYPT, TASK, quoted, sent, server, strangers

__all__ = ["server"]

pytestmark = pytest.mark.cluster

SCHEMA: Final = "oxdatabase_9"
KEY: Final = PASSCRYPT.encode()
USERS: Final = (1, 2, 3, 4)
Row = tuple[str, str]
"""Password and login."""
ROWS: Final[dict[str, Callable[[str], str]]] = {
    "legacy": lambda clear: write_legacy(KEY, clear),
    "argon": lambda clear: write_argon(KEY, clear, b"i" * 12, b"s" * 16, CHEAP),
    "cut": lambda clear: write_argon(KEY, clear, b"i" * 12, b"s" * 16, CHEAP)[:64],
    "trailing": lambda clear: write_legacy(KEY, clear) + " ",
    "clear": lambda clear: clear,
    "dollars": lambda clear: f"{clear}$$",
    "blank": lambda _clear: "   ",
}
OLDER: Final = {"legacy", "trailing"}
NEWER: Final = {"argon", "cut"}


class Site:
    """One context of OX, with what is known of it here and not by the product."""

    def __init__(self, server: MariaDB, form: str) -> None:
        self.server = server
        self.form = form
        self.width = 64
        self.tasks: dict[str, bool] = {}
        self.kinds: dict[int, str] = {}
        self.script = [
            f"CREATE DATABASE IF NOT EXISTS configdb; CREATE DATABASE IF NOT EXISTS {SCHEMA}; USE configdb",
            "CREATE OR REPLACE TABLE db_pool (db_pool_id INT, url TEXT, login TEXT, password TEXT)",
            "CREATE OR REPLACE TABLE context_server2db_pool"
            " (server_id INT, cid INT, read_db_pool_id INT, write_db_pool_id INT, db_schema TEXT)",
            f"INSERT INTO db_pool VALUES (5, 'jdbc:mysql://127.0.0.1:{server.port}', 'openexchange',"
            f" {quoted(OX_PASSWORD)})",
            f"INSERT INTO context_server2db_pool VALUES (2, 1, 9, 5, '{SCHEMA}')",
            f"GRANT ALL ON configdb.* TO openexchange@'%'; GRANT ALL ON {SCHEMA}.* TO openexchange@'%'; USE {SCHEMA}",
            "CREATE OR REPLACE TABLE credentials (cid INT4 UNSIGNED NOT NULL, user INT4 UNSIGNED NOT NULL, password"
            " VARCHAR(64) NOT NULL, login VARCHAR(64) NOT NULL, PRIMARY KEY (cid, user)) COLLATE=utf8_unicode_ci",
            "CREATE OR REPLACE TABLE updateTask (taskName VARCHAR(1024) NOT NULL, successful BOOLEAN NOT NULL)",
            "CREATE OR REPLACE TABLE replicationMonitor (cid INT PRIMARY KEY, transaction INT8 NOT NULL)",
            "INSERT INTO replicationMonitor VALUES (1, 0), (2, 0)",
            "TRUNCATE mysql.general_log",
        ]

    def run(self) -> None:
        """What OX has done since."""
        if self.script:
            self.server.sql("; ".join(self.script), SCHEMA if self.script[0][:6] != "CREATE" else "")
        self.script = []

    def rows(self) -> dict[int, Row]:
        found = self.server.sql("SELECT user, HEX(password), login FROM credentials", SCHEMA)
        return {int(user): (bytes.fromhex(text).decode(), login) for user, text, login in found}

    # -- what OX does

    def store(self, user: int, kind: str, clear: str) -> None:
        text = ROWS[kind](clear)
        if len(text) <= self.width:
            self.kinds[user] = kind
            self.script.append(f"REPLACE INTO credentials VALUES (1, {user}, {quoted(text)}, 'login-{user}')")

    def delete(self, user: int) -> None:
        self.kinds.pop(user, None)
        self.script.append(f"DELETE FROM credentials WHERE user = {user}")

    def widen(self) -> None:
        self.width = 512
        self.script.append("ALTER TABLE credentials MODIFY password VARCHAR(512) NOT NULL")

    def note(self, name: str, successful: bool) -> None:
        self.tasks[name] = successful
        self.script.append(f"DELETE FROM updateTask WHERE taskName = '{name}'")
        self.script.append(f"INSERT INTO updateTask VALUES ('{name}', {int(successful)})")

    def unlock(self) -> None:
        self.tasks = {name: done for name, done in self.tasks.items() if name == TASK}
        self.script.append("DELETE FROM updateTask WHERE taskName IN ('LOCKED', 'BACKGROUND')")

    # -- what OX would read

    def takes(self) -> bool:
        """Whether the OX that reads this table reads rows of the form, by the issue's words."""
        older, newer = OLDER & set(self.kinds.values()), NEWER & set(self.kinds.values())
        if self.tasks.keys() - {TASK}:
            return False
        if self.form == "argon":
            return self.width == 512 and not older and self.tasks.get(TASK) is True
        return TASK not in self.tasks and not newer


Action = tuple[Any, ...]
_USER: Final = st.sampled_from(USERS)
_CLEAR: Final = st.text("aB3$ß ", max_size=12).map(lambda text: f"p{text}w")
_STORE: Final = st.tuples(st.just("store"), _USER, st.sampled_from([*sorted(ROWS), "legacy", "argon"]), _CLEAR)
_TASK: Final = st.tuples(st.just("note"), st.just(TASK), st.sampled_from([True, True, False]))
_LOCK: Final = st.tuples(st.just("note"), st.sampled_from(["LOCKED", "BACKGROUND"]), st.just(True))
_PUT: Final = st.tuples(st.just("put"), _USER, st.one_of(_CLEAR, _CLEAR, st.just("x" * 60)))
# A site as it may be: rows of one era, of both, or of none, before and after the task; then OX and Mail Push in turns.
ERAS: Final = st.one_of(
    st.just([]),
    *[st.just([("widen",), ("note", TASK, True)])] * 3,
    st.just([("widen",)]),
    st.tuples(st.just(("widen",)), _TASK).map(list),
)
BEGUN: Final[st.SearchStrategy[list[Action]]] = st.lists(_STORE, min_size=1, max_size=3) | st.just([])
TURNS: Final = st.lists(
    st.tuples(
        st.one_of(
            st.none(),
            st.none(),
            _STORE,
            _TASK,
            _LOCK,
            st.tuples(st.just("delete"), _USER),
            st.just(("widen",)),
            st.just(("unlock",)),
        ),
        _PUT,
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def login(server: MariaDB) -> MariaDB:
    server.create_user("openexchange", OX_PASSWORD)
    return server


# Each example takes half a second: a failing one is shown as it was found.
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(form=st.sampled_from(["legacy", "argon"]), era=ERAS, begun=BEGUN, turns=TURNS)
def test_no_form_that_the_table_refuses_is_ever_written_and_each_written_row_is_read_elsewhere(
    login: MariaDB, form: str, era: list[Action], begun: list[Action], turns: list[tuple[Action | None, Action]]
) -> None:
    in_turns = [action for turn in turns for action in turn if action is not None]
    asyncio.run(play(Site(login, form), [*era, *begun, *in_turns]))


async def play(site: Site, actions: list[Action]) -> None:
    configdb = DatabaseSettings(f"mysql://127.0.0.1:{site.server.port}/configdb", "openexchange", OX_PASSWORD)
    store = ox_table(OxCredentialSettings("readWrite", site.form, configdb))
    written = 0
    try:
        stored = StoredCredentials(store, Cipher(Passcrypt(PASSCRYPT)), foreign=True)
        for name, *arguments in actions:
            if name != "put":
                getattr(site, name)(*arguments)
                continue
            site.run()
            written += await put(site, stored, *arguments)
        site.run()
    finally:
        await store.close()
    assert strangers(sent(site.server)) == []
    assert site.server.sql("SELECT cid, transaction FROM replicationMonitor ORDER BY cid", SCHEMA) == [
        ("1", str(written)),
        ("2", "0"),
    ]


async def put(site: Site, stored: StoredCredentials, user: int, password: str) -> int:
    """Puts it and compares all rows; how many were written."""
    before, refused = site.rows(), None
    try:
        changed = await stored.put((1, user), password)
    except (WriteRefusedError, PasswordRefusedError) as error:
        changed, refused = False, error
    after = site.rows()
    if refused is not None:
        fits = len(password.encode()) <= (47 if site.form == "legacy" and site.width == 64 else 300)
        assert not (site.takes() and fits), refused
        assert password not in str(refused)
    if not changed:
        assert after == before
        return 0
    assert site.takes()
    text, login = after[user]
    assert (read_legacy if site.form == "legacy" else read_argon)(KEY, text) == password
    assert login == (before[user][1] if user in before else "")
    assert {one: row for one, row in after.items() if one != user} == {
        one: row for one, row in before.items() if one != user
    }
    assert text != before.get(user, ("", ""))[0]
    site.kinds[user] = site.form
    return 1
