"""Passwords as they stand in a store: vectors made by the JDK and Bouncy Castle, and what else may stand there."""

import asyncio
import json
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from Crypto.Cipher import AES
from Crypto.Util.Padding import pad

from mailpush.credentials import argon, legacy
from mailpush.credentials.cipher import (
    Cipher,
    Decrypted,
    EncryptionError,
    Kind,
    Passcrypt,
    Reading,
    Verdict,
    settles,
)
from mailpush.credentials.legacy import legacy_key
from mailpush.credentials.murmur import murmur3_x64_128
from tests.sites import ox_cipher

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


async def test_the_salt_of_the_store_s_note_is_taken_over() -> None:
    first, second = Cipher(PASSCRYPT), Cipher(PASSCRYPT)
    row = await first.encrypt("secret")
    assert first.has_own_salt(row)
    assert not second.has_own_salt(row)
    await second.encrypt("before")
    second.use_salt_of(await first.key_check())
    assert second.has_own_salt(row)
    assert (await second.encrypt("secret")).split("$")[1:5] == row.split("$")[1:5]
    assert (await second.decrypt(row)).clear == "secret"


@pytest.mark.parametrize("note", ["", "secret", "4wbkxi14UmulLSUhh71kcw==", "a$b$c$d$e$f"])
async def test_a_note_that_is_no_encrypted_row_neither_agrees_nor_gives_a_salt(note: str) -> None:
    cipher = Cipher(PASSCRYPT)
    assert not await cipher.agrees(note)
    assert not await cipher.agreed_before(note)
    with pytest.raises(ValueError, match="is no encrypted row") as raised:
        cipher.use_salt_of(note)
    assert not note or note not in str(raised.value)


async def test_a_note_with_another_text_does_not_agree() -> None:
    cipher = Cipher(PASSCRYPT)
    assert not await cipher.agrees(await cipher.encrypt("secret"))


async def test_a_note_agrees_with_the_passcrypt_as_it_is_and_with_no_other_reading_of_it() -> None:
    misread = Cipher(Passcrypt("Ã¤"))
    assert not await Cipher(Passcrypt("ä")).agrees(await misread.key_check())
    assert await misread.agrees(await misread.key_check())


@pytest.mark.parametrize(
    ("size", "width", "legacy_width"), [(1, 76, 24), (47, 136, 64), (48, 140, 88), (329, 512, 448), (383, 584, 512)]
)
async def test_a_row_is_written_whole_or_not_at_all(size: int, width: int, legacy_width: int) -> None:
    cipher, clear = Cipher(PASSCRYPT), "p" * size
    assert len(await cipher.encrypt(clear, width)) == width
    assert len(cipher.encrypt_legacy(clear, legacy_width)) == legacy_width
    with pytest.raises(EncryptionError, match=f"does not fit the column's {width - 1} characters"):
        await cipher.encrypt(clear, width - 1)
    with pytest.raises(EncryptionError, match=f"does not fit the column's {legacy_width - 1} characters"):
        cipher.encrypt_legacy(clear, legacy_width - 1)


async def test_without_a_width_the_row_fits_ox_s_columns() -> None:
    cipher = Cipher(PASSCRYPT)
    await cipher.encrypt("p" * 329)
    cipher.encrypt_legacy("p" * 47)
    with pytest.raises(EncryptionError):
        await cipher.encrypt("p" * 330)
    with pytest.raises(EncryptionError):
        cipher.encrypt_legacy("p" * 48)


@pytest.mark.parametrize(
    ("clear", "why"), [("", "empty, or of blanks only"), (" \t\n", "empty, or of blanks only"), ("a\ud800b", "Unicode")]
)
async def test_what_is_no_password_is_not_encrypted(clear: str, why: str) -> None:
    cipher = Cipher(PASSCRYPT)
    with pytest.raises(EncryptionError, match=why):
        await cipher.encrypt(clear)
    with pytest.raises(EncryptionError, match=why):
        cipher.encrypt_legacy(clear)


async def test_a_password_is_not_stored_where_there_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argon, "_derived", lambda *_: None)
    with pytest.raises(EncryptionError, match="15360 KiB"):
        await Cipher(PASSCRYPT).encrypt("secret")


@pytest.mark.parametrize("end", ["p", "ü", "🚀"])
async def test_a_row_of_either_form_that_was_cut_at_its_column_is_too_long(end: str) -> None:
    cipher, other = Cipher(PASSCRYPT), Cipher(Passcrypt("other"))
    for size in range(48, 60):
        cut = cipher.encrypt_legacy("p" * size + end, width=512)[:64]
        assert (await cipher.decrypt(cut)).kind is Kind.TOO_LONG
        assert (await other.decrypt(cut)).kind is Kind.UNDECRYPTABLE
    for size in (330, 345, 346, 1000):
        cut = (await cipher.encrypt("p" * size + end, width=4096))[:512]
        assert (await cipher.decrypt(cut)).kind is Kind.TOO_LONG
        assert (await other.decrypt(cut)).kind is Kind.UNDECRYPTABLE


async def test_what_decrypts_to_no_text_is_given_out_in_neither_form() -> None:
    cipher = Cipher(PASSCRYPT)
    key = ox_cipher.argon_key(b"passcrypt", bytes(16), ox_cipher.Costs())
    parts = AES.new(key, AES.MODE_GCM, nonce=bytes(12)).encrypt_and_digest(b"\xff\xfe")
    stored = f"{'A' * 16}${'A' * 22}==$15360$2$1${b64encode(b''.join(parts)).decode()}"
    legacy = AES.new(ox_cipher.legacy_key(b"passcrypt"), AES.MODE_CBC, iv=bytes(16)).encrypt(pad(b"\xff\xfe", 16))
    assert await cipher.decrypt(stored) == Decrypted(Kind.DAMAGED)
    assert await cipher.decrypt(b64encode(legacy).decode()) == Decrypted(Kind.UNDECRYPTABLE)


async def test_a_row_of_ours_means_the_same_once_its_key_is_known() -> None:
    """The quick way for rows of the installation does not take what the careful one refuses."""
    cipher = Cipher(PASSCRYPT)
    good = await cipher.encrypt("secret")
    iv, common, data = good[:16], good[16:52], good[52:]
    rows = [
        good,
        f" {good}\n",
        await Cipher(PASSCRYPT).encrypt("with another salt"),
        await Cipher(Passcrypt("other")).encrypt("under another passcrypt"),
        f"{iv}{common}{data[:-4]}",
        f"{iv}{common}{data[:12]}",
        f"{iv}{common}",
        f"{iv}{common}{data}\n!",
        f"{iv[:8]}\n{iv[8:]}{common}{data}",
        f"{iv[:-1]}={common}{data}",
        f"{'A' * 16}{common}{data}",
        f"{iv}{common}{data}$",
        good + "A" * 5000,
    ]
    kinds = []
    for row in rows:
        fresh = Cipher(PASSCRYPT)
        fresh.use_salt_of(good)
        kinds.append(await fresh.decrypt(row))
    assert await cipher.decrypt(good) == Decrypted(Kind.USABLE, "secret", False, Reading.UTF_8)
    assert [await cipher.decrypt(row) for row in rows] == kinds
    assert [each.kind for each in kinds] == [
        *[Kind.USABLE] * 3,
        *[Kind.UNDECRYPTABLE] * 2,
        *[Kind.DAMAGED] * 5,
        Kind.UNDECRYPTABLE,
        *[Kind.DAMAGED] * 2,
    ]


async def test_no_secret_is_in_what_python_prints(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(1)
    secrets = ["the-passcrypt", "the-former-one", "the-password"]
    cipher = Cipher(Passcrypt(secrets[0]), Passcrypt(secrets[1]))
    stored = await cipher.encrypt(secrets[2])
    printed = [cipher, cipher.passcrypt, vars(cipher), await cipher.decrypt(stored), await cipher.decrypt(secrets[2])]
    for refused in (secrets[2] * 500, secrets[2] + "\ud800"):
        for encrypt in (cipher.encrypt(refused), asyncio.to_thread(cipher.encrypt_legacy, refused)):
            with pytest.raises(EncryptionError) as raised:
                await encrypt
            assert raised.value.__context__ is None, "a report of errors prints what the context holds"
            printed.append(raised.value)
    with pytest.raises(ValueError, match="passcrypt is not Unicode") as unusable:
        Passcrypt(secrets[0] + "\ud800")
    printed.append(unusable.value)
    text = "\n".join([*map(repr, printed), *map(str, printed), caplog.text])
    assert [each for each in secrets if each in text] == []
    assert repr(cipher._attempts[0].legacy_key)[2:-1] not in text


def test_a_passcrypt_is_trimmed_as_java_does() -> None:
    assert Passcrypt(" \r\n\x00passcrypt\t\n") == PASSCRYPT
    assert Passcrypt("\u00a0x").text == "\u00a0x"
    with pytest.raises(ValueError, match="the passcrypt is empty"):
        Passcrypt(" \n")


def test_a_passcrypt_has_one_reading_or_three() -> None:
    assert PASSCRYPT.readings == {Reading.UTF_8: "passcrypt"}
    assert Passcrypt("ä🚀").readings == {
        Reading.UTF_8: "ä🚀",
        Reading.LATIN_1: "Ã¤ð\x9f\x9a\x80",
        Reading.QUESTION_MARKS: "??",
    }


def test_a_fingerprint_tells_passcrypts_apart_and_needs_a_key() -> None:
    fingerprint = Cipher(PASSCRYPT).fingerprint(b"key")
    assert len(fingerprint) == 32
    assert Cipher(Passcrypt("passcrypt\n")).fingerprint(b"key") == fingerprint
    assert Cipher(Passcrypt("other")).fingerprint(b"key") != fingerprint
    assert Cipher(PASSCRYPT).fingerprint(b"other") != fingerprint
    with pytest.raises(ValueError, match="needs a key"):
        Cipher(PASSCRYPT).fingerprint(b"")


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ([], Verdict.UNKNOWN),
        ([Kind.UNDECRYPTABLE] * 2, Verdict.UNKNOWN),
        ([Kind.UNDECRYPTABLE] * 3, Verdict.MISMATCH),
        ([Kind.UNDECRYPTABLE] * 3 + [Kind.USABLE], Verdict.MATCH),
        ([Kind.USABLE], Verdict.MATCH),
        ([Kind.TOO_LONG], Verdict.MATCH),
        (
            [Kind.BLANK, Kind.CLEAR_TEXT, Kind.DAMAGED, Kind.REFUSED_PARAMETERS, *[Kind.UNDECRYPTABLE] * 2],
            Verdict.UNKNOWN,
        ),
    ],
)
def test_three_rows_settle_whether_the_passcrypt_is_the_table_s(outcomes: list[Kind], verdict: Verdict) -> None:
    assert settles(outcomes) is verdict


def test_a_wrong_passcrypt_makes_a_text_of_hardly_any_legacy_row() -> None:
    """One of 255 has a valid padding; strict UTF-8 leaves so few that three rows are proof."""
    key = legacy_key("wrong")
    assert sum(legacy.decrypt(key, os.urandom(16)) is not None for _ in range(20_000)) <= 3
