"""How often keys are derived, for how many at once, and what becomes of them."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from mailpush.credentials import argon
from mailpush.credentials.argon import LARGE, MAX_READY, WORKERS, Keys
from mailpush.credentials.cipher import Cipher, Kind, Passcrypt
from mailpush.credentials.forms import LIMITS, Parameters
from mailpush.credentials.headroom import pod_limits
from tests.sites.ox_cipher import Costs, write_argon
from tests.sites.waiting import until

CHEAP = Costs(8, 1, 1)
ROWS = [write_argon(b"passcrypt", f"password {at}", bytes(12), at.to_bytes(16), CHEAP) for at in range(3 * MAX_READY)]


def parameters(salt: int, memory: int = 8) -> Parameters:
    return Parameters(salt.to_bytes(16), memory, 1, 1)


class Derivations:
    """Stands for Argon2 where a test needs to see how many run, which it does not tell."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.running: list[Parameters] = []
        self.begun = 0

    def __call__(self, secret: bytes, parameters: Parameters) -> bytes:
        self.begun += 1
        self.running.append(parameters)
        self.go.wait(30)
        self.running.remove(parameters)
        return bytes(32)


@pytest.fixture
def derivations(monkeypatch: pytest.MonkeyPatch) -> Derivations:
    replaced = Derivations()
    monkeypatch.setattr(argon, "_derived", replaced)
    return replaced


async def test_each_row_of_ox_costs_one_derivation_and_the_same_row_none() -> None:
    cipher = Cipher(Passcrypt("passcrypt"))
    for _ in range(2):
        found = [await cipher.decrypt(row) for row in ROWS]
        assert [each.clear for each in found] == [f"password {at}" for at in range(len(ROWS))]
        assert cipher.derivations == len(ROWS)


async def test_a_row_that_cannot_be_decrypted_costs_its_derivations_once() -> None:
    cipher = Cipher(Passcrypt("another"), Passcrypt("third"))
    for _ in range(2):
        assert (await cipher.decrypt(ROWS[0])).kind is Kind.UNDECRYPTABLE
    assert cipher.derivations == 2


async def test_whoever_waits_for_the_same_key_shares_it(derivations: Derivations) -> None:
    keys = Keys()
    asked = [asyncio.create_task(keys.get(b"secret", parameters(1))) for _ in range(100)]
    await until(lambda: derivations.begun > 0)
    derivations.go.set()
    assert None not in await asyncio.gather(*asked)
    assert (derivations.begun, keys.derivations) == (1, 1)


async def test_who_stops_waiting_takes_the_key_from_nobody(derivations: Derivations) -> None:
    keys = Keys()
    first, second = (asyncio.create_task(keys.get(b"secret", parameters(1))) for _ in range(2))
    await until(lambda: derivations.begun > 0)
    first.cancel()
    derivations.go.set()
    assert await second is not None


async def test_few_keys_are_derived_at_once_and_large_ones_singly(derivations: Derivations) -> None:
    keys = Keys()
    large = [asyncio.create_task(keys.get(b"secret", parameters(at, LARGE + 1))) for at in range(5)]
    await until(lambda: len(derivations.running) == 1)
    small = [asyncio.create_task(keys.get(b"secret", parameters(at))) for at in range(5)]
    await until(lambda: len(derivations.running) == WORKERS)
    assert [each.memory > LARGE for each in derivations.running] == [True, False]
    assert derivations.begun == WORKERS
    derivations.go.set()
    await asyncio.gather(*large, *small)
    assert derivations.begun == 10


async def test_the_keys_that_were_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argon, "MAX_KEYS", 4)
    monkeypatch.setattr(argon, "MAX_READY", 1)
    keys = Keys()
    for at in (1, 2, 3, 4, 1, 5, 1):
        await keys.get(b"secret", parameters(at))
    assert keys.derivations == 5
    await keys.get(b"secret", parameters(2))
    assert keys.derivations == 6


async def test_a_key_for_which_there_is_no_memory_is_refused_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoMemory:
        def __init__(self, **_: object) -> None:
            raise MemoryError

    cipher = Cipher(Passcrypt("passcrypt"))
    with monkeypatch.context() as patch:
        patch.setattr(argon, "Argon2i", NoMemory)
        assert (await cipher.decrypt(ROWS[0])).kind is Kind.REFUSED_PARAMETERS
    assert (await cipher.decrypt(ROWS[0])).clear == "password 0"


@pytest.mark.parametrize(
    ("files", "kib"),
    [
        ({}, LIMITS.memory),
        ({"memory.max": "max\n"}, LIMITS.memory),
        ({"memory.max": f"{2**30}\n"}, 256 * 1024),
        ({"memory.max": f"{2**26}\n"}, 64 * 1024),
        ({"memory.max": f"{2**40}\n"}, LIMITS.memory),
        ({"memory/memory.limit_in_bytes": f"{2**30}\n"}, 256 * 1024),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, LIMITS.memory),
    ],
)
def test_no_key_takes_more_than_a_quarter_of_the_pod(tmp_path: Path, files: dict[str, str], kib: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert pod_limits(tmp_path).memory == kib


async def test_keys_are_derived_when_nothing_else_wants_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def derive(secret: bytes, parameters: Parameters) -> bytes:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return bytes(32)

    monkeypatch.setattr(argon, "_derived", derive)
    here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    await Keys().get(b"secret", parameters(1))
    assert seen[0] > here
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == here
