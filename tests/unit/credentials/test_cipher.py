"""Passwords as they stand in a store: vectors made by the JDK and Bouncy Castle, and what else may stand there."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mailpush.credentials.cipher import Cipher, Kind, Passcrypt, Reading
from mailpush.credentials.legacy import legacy_key
from mailpush.credentials.murmur import murmur3_x64_128

HERE = Path(__file__).parent
PASSCRYPT = Passcrypt("passcrypt")


def vectors(name: str) -> list[Any]:
    return [pytest.param(each, id=each["name"]) for each in json.loads((HERE / f"vectors-{name}.json").read_text())]


@pytest.mark.parametrize("vector", [*vectors("legacy"), *vectors("new")])
async def test_a_row_of_ox_is_decrypted(vector: dict[str, Any]) -> None:
    found = await Cipher(Passcrypt(vector["passcrypt"])).decrypt(vector["stored"])
    if vector["clear"]:
        assert (found.kind, found.clear, found.previous, found.reading) == (
            Kind.USABLE,
            vector["clear"],
            False,
            Reading.UTF_8,
        )
    else:
        assert (found.kind, found.clear) == (Kind.BLANK, None)


@pytest.mark.parametrize("vector", [each for each in vectors("legacy") if each.values[0]["clear"]])
def test_the_legacy_form_is_written_as_ox_writes_it(vector: dict[str, Any]) -> None:
    assert legacy_key(vector["passcrypt"]).hex() == vector["key"]
    assert Cipher(Passcrypt(vector["passcrypt"])).encrypt_legacy(vector["clear"], width=512) == vector["stored"]


@pytest.mark.parametrize("vector", vectors("new"))
def test_the_murmur_hash_is_guava_s(vector: dict[str, Any]) -> None:
    assert murmur3_x64_128(vector["passcrypt"].encode()).hex() == vector["murmur3"]


KINDS = {
    "legacy row": Kind.USABLE,
    "new row": Kind.USABLE,
    "blanks only: OX stores them unencrypted": Kind.BLANK,
    "clear text after an encryption failure": Kind.CLEAR_TEXT,
    "clear text with dollars": Kind.CLEAR_TEXT,
    "clear text of 64 hexadecimal digits: looks like 48 bytes of cipher text": Kind.UNDECRYPTABLE,
    "legacy, trailing blank": Kind.USABLE,
    "legacy, trailing newline": Kind.USABLE,
    "legacy, 88 characters cut to 64": Kind.TOO_LONG,
    "legacy, other passcrypt": Kind.UNDECRYPTABLE,
    "new, cut to 64": Kind.DAMAGED,
    "new, tag changed": Kind.UNDECRYPTABLE,
    "new, five fields": Kind.DAMAGED,
    "new, 2 TiB of memory asked": Kind.REFUSED_PARAMETERS,
    "new, 4 GiB asked": Kind.REFUSED_PARAMETERS,
}


@pytest.mark.parametrize("vector", vectors("traps"))
async def test_a_row_as_it_is_found_is_classified(vector: dict[str, Any]) -> None:
    found = await Cipher(Passcrypt(vector["passcrypt"])).decrypt(vector["stored"])
    assert (found.kind, found.clear) == (KINDS[vector["name"]], vector["clear"])


async def test_one_key_serves_all_rows_of_the_installation() -> None:
    writer = Cipher(PASSCRYPT)
    note = await writer.key_check()
    rows = [await writer.encrypt(f"password {number}") for number in range(1000)]
    assert writer.derivations == 1
    reader = Cipher(PASSCRYPT)
    reader.use_salt_of(note)
    assert await reader.agrees(note)
    found = await asyncio.gather(*map(reader.decrypt, rows))
    assert [each.clear for each in found] == [f"password {number}" for number in range(1000)]
    await reader.encrypt("another one")
    assert reader.derivations == 1
    assert len(set(rows)) == 1000


async def test_the_previous_passcrypt_reads_what_it_wrote_and_the_answer_says_so() -> None:
    old = Cipher(Passcrypt("old"))
    rows = [await old.encrypt("secret"), old.encrypt_legacy("secret")]
    note = await old.key_check()
    new = Cipher(Passcrypt("new"), Passcrypt("old"))
    assert [(found.clear, found.previous) for found in [await new.decrypt(row) for row in rows]] == [
        ("secret", True)
    ] * 2
    assert (await new.agrees(note), await new.agreed_before(note)) == (False, True)
    alone = Cipher(Passcrypt("new"))
    assert [(await alone.decrypt(row)).kind for row in rows] == [Kind.UNDECRYPTABLE] * 2
    assert not await alone.agrees(note)
    assert not await alone.agreed_before(note)
