"""`make bench-credentials`: how fast stored passwords are read, against the bare driver, and how fast they are rotated.

On a real MariaDB, with as many entries as asked. In each round the driver and the product take turns, so that what else
the machine does meets both. Rates are per second of the clock, and per second of this process's CPU. The last line is
JSON.

It stands among the tests, for it needs the product and `dev/`, which must not import the product.
"""

import asyncio
import gc
import json
import os
import statistics
import time
import tracemalloc
from base64 import b64decode
from binascii import a2b_base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import asyncmy
import click
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2i

from dev.services.mariadb import MariaDB
from mailpush.credentials.argon import secret_of
from mailpush.credentials.cipher import Cipher, Kind, Passcrypt
from mailpush.credentials.database import DatabaseCredentials
from mailpush.credentials.rotation import Rotation
from mailpush.credentials.storage import Entry, UserKey
from mailpush.credentials.stored import KEY_CHECK
from mailpush.credentials.tables import CREDENTIALS
from mailpush.properties.settings import DatabaseSettings
from mailpush.store.sql import engine_of

NAME: Final = CREDENTIALS.name
COLUMNS: Final = "context_id, user_id, password, changed, worked, refused"
DATABASE: Final = "mailpush"
PASSWORD: Final = "of the benchmark"
PAGE: Final = 5000
USERS_OF_A_CONTEXT: Final = 100
TIMEOUT_MILLISECONDS: Final = 30_000
"""A busy machine is to be slow here, not to fail."""
PASSCRYPT: Final = Passcrypt("of the benchmark")
NEXT_PASSCRYPT: Final = Passcrypt("of the benchmark, rotated")


@dataclass(frozen=True)
class Took:
    """Seconds of the clock, and of this process's CPU."""

    wall: float
    cpu: float


async def timed(work: Callable[[], Awaitable[int]], expected: int) -> Took:
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    done = await work()
    took = Took(time.perf_counter() - wall, time.process_time() - cpu)
    if done != expected:
        raise click.ClickException(f"{done} rows instead of {expected}")
    return took


async def pages(storage: DatabaseCredentials) -> AsyncIterator[list[Entry]]:
    after: UserKey | None = None
    while page := await storage.page(after, PAGE):
        yield page
        after = page[-1].key


class Bench:
    """One table, and the ways in which it is read and written."""

    def __init__(self, storage: DatabaseCredentials, driver: Any, entries: int, note: str) -> None:
        self.storage = storage
        self.driver = driver
        self.entries = entries
        self.note = note
        self.derivations = 0

    def cipher(self, *passcrypts: Passcrypt) -> Cipher:
        """As in a pod that has just started: it knows the salt, and no key."""
        cipher = Cipher(*passcrypts)
        cipher.use_salt_of(self.note)
        return cipher

    async def fill(self) -> int:
        """By the driver: one by one it would take minutes, and that is not what is measured."""
        writer = self.cipher(PASSCRYPT)
        cursor = self.driver.cursor()
        for start in range(0, self.entries, PAGE):
            rows = [
                (number // USERS_OF_A_CONTEXT + 1, number, await writer.encrypt(f"password {number}"), 1, 0, 0)
                for number in range(start, min(start + PAGE, self.entries))
            ]
            await cursor.executemany(f"INSERT INTO {NAME} ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)", rows)
        return self.entries

    async def bare(self) -> list[tuple[Any, ...]]:
        """All rows at once."""
        cursor = self.driver.cursor()
        await cursor.execute(f"SELECT {COLUMNS} FROM {NAME} ORDER BY context_id, user_id")
        return list(await cursor.fetchall())

    async def bare_driver(self) -> int:
        return len(await self.bare())

    async def bare_driver_and_aes(self) -> int:
        """The least that it takes: base64 and AES-GCM, each a call a row, and nothing that looks at the row."""
        salt, *numbers = self.note.split("$")[1:5]
        memory, iterations, lanes = map(int, numbers)
        kdf = Argon2i(salt=b64decode(salt), length=32, iterations=iterations, lanes=lanes, memory_cost=memory)
        decrypt = AESGCM(kdf.derive(secret_of(PASSCRYPT.text))).decrypt
        data = self.note.rindex("$") + 1
        return len(
            [decrypt(a2b_base64(row[2][:16]), a2b_base64(row[2][data:]), None).decode() for row in await self.bare()]
        )

    async def load(self) -> int:
        """All entries, page by page, still encrypted."""
        return sum([len(page) async for page in pages(self.storage)])

    async def load_and_decrypt(self) -> int:
        cipher, usable = self.cipher(PASSCRYPT), 0
        async for page in pages(self.storage):
            usable += await self.decrypt(page, cipher)
        self.derivations = max(self.derivations, cipher.derivations)
        return usable

    async def decrypt(self, entries: list[Entry], cipher: Cipher) -> int:
        usable = 0
        for entry in entries:
            usable += (await cipher.decrypt(entry.password)).kind is Kind.USABLE
        return usable

    async def held(self) -> int:
        """Bytes that all entries take, kept by their keys."""
        gc.collect()
        tracemalloc.start()
        entries = {entry.key: entry async for page in pages(self.storage) for entry in page}
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size // len(entries)

    async def rotate(self) -> int:
        """Encrypts all of them anew under the next passcrypt."""
        await self.storage.set_note(KEY_CHECK, None, self.note)
        cipher = self.cipher(NEXT_PASSCRYPT, PASSCRYPT)
        return (await Rotation(self.storage, cipher, gate=partial(asyncio.sleep, 0)).run()).renewed


async def measured(bench: Bench, rounds: int) -> dict[str, Any]:
    rows = bench.entries
    tell("insert (driver)", rows, [await timed(bench.fill, rows)])
    ways = {
        "bare driver": bench.bare_driver,
        "bare driver and AES": bench.bare_driver_and_aes,
        "load": bench.load,
        "load and decrypt": bench.load_and_decrypt,
    }
    took: dict[str, list[Took]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            took[name].append(await timed(way, rows))
    page = await bench.storage.page(None, PAGE)
    cipher = bench.cipher(PASSCRYPT)
    await cipher.decrypt(page[0].password)
    decrypted = [await timed(partial(bench.decrypt, page, cipher), len(page)) for _ in range(rounds)]
    for name, times in took.items():
        tell(name, rows, times)
    tell("decrypt", len(page), decrypted)
    held = await bench.held()
    rotated = [await timed(bench.rotate, rows)]
    tell("rotate", rows, rotated)
    whole, bare, least = took["load and decrypt"], took["bare driver"], took["bare driver and AES"]
    return {
        "entries": rows,
        "rows_per_s": {name: rate(rows, times) for name, times in took.items()},
        "rows_per_core_second": {name: rate(rows, times, cpu=True) for name, times in took.items()},
        "decrypted_per_core_second": rate(len(page), decrypted, cpu=True),
        "ratio_to_bare_driver": round(rate(rows, whole) / rate(rows, bare), 3),
        "ratio_to_bare_driver_and_aes": round(rate(rows, whole) / rate(rows, least), 3),
        "key_derivations": bench.derivations,
        "bytes_per_entry": held,
        "rotated_per_s": rate(rows, rotated),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def rate(rows: int, times: list[Took], *, cpu: bool = False) -> int:
    """Rows a second in the round in the middle."""
    return round(rows / statistics.median(took.cpu if cpu else took.wall for took in times))


def tell(name: str, rows: int, times: list[Took]) -> None:
    print(f"{name:22} {rate(rows, times):>12,} /s {rate(rows, times, cpu=True):>12,} /core-second", flush=True)


async def run(entries: int, rounds: int) -> dict[str, Any]:
    with MariaDB.launch() as server:
        server.create(DATABASE, DATABASE, PASSWORD)
        settings = DatabaseSettings(
            f"mysql://{server.host}:{server.port}/{DATABASE}", DATABASE, PASSWORD, timeout_ms=TIMEOUT_MILLISECONDS
        )
        storage = DatabaseCredentials(engine_of(settings))
        await storage.count()  # which makes the tables
        driver = await asyncmy.connect(
            host=server.host, port=server.port, user=DATABASE, password=PASSWORD, db=DATABASE, autocommit=True
        )
        try:
            return await measured(Bench(storage, driver, entries, await Cipher(PASSCRYPT).key_check()), rounds)
        finally:
            await driver.ensure_closed()
            await storage.close()


@click.command()
@click.option("--entries", default=100_000, show_default=True, type=click.IntRange(min=PAGE))
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
def main(entries: int, rounds: int) -> None:
    """Loads, decrypts and rotates stored passwords on a MariaDB of its own."""
    figures = asyncio.run(run(entries, rounds))
    print(json.dumps(figures))
    if figures["key_derivations"] != 1:
        raise click.ClickException(f"{figures['key_derivations']} keys were derived, and one is enough")


if __name__ == "__main__":
    main()
