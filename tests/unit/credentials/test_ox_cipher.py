"""What Mail Push writes another implementation of OX's forms reads, and the reverse."""

import asyncio

import mmh3
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpush.credentials.cipher import Cipher, Decrypted, Kind, Passcrypt, Reading
from mailpush.credentials.forms import java_trim
from mailpush.credentials.murmur import murmur3_x64_128
from tests.sites.ox_cipher import Costs, read_argon, read_legacy, write_argon, write_legacy

UNICODE = st.characters(exclude_categories=["Cs"])
CLEAR = st.text(UNICODE, min_size=1, max_size=40).filter(java_trim)
PASSCRYPT = st.text(UNICODE, min_size=1).map(java_trim).filter(bool)
COSTS = st.builds(
    lambda memory, iterations, lanes: Costs(memory * lanes, iterations, lanes),
    st.integers(8, 64),
    st.integers(1, 3),
    st.integers(1, 4),
)


def decrypted(passcrypt: str, stored: str) -> Decrypted:
    return asyncio.run(Cipher(Passcrypt(passcrypt)).decrypt(stored))


@given(PASSCRYPT, CLEAR, st.binary(min_size=12, max_size=12), st.binary(min_size=16, max_size=16), COSTS)
def test_a_row_of_the_newer_form_is_read(passcrypt: str, clear: str, iv: bytes, salt: bytes, costs: Costs) -> None:
    stored = write_argon(passcrypt.encode(), clear, iv, salt, costs)
    assert decrypted(passcrypt, stored) == Decrypted(Kind.USABLE, clear, False, Reading.UTF_8)


@given(PASSCRYPT, CLEAR)
def test_a_row_of_the_legacy_form_is_read(passcrypt: str, clear: str) -> None:
    stored = write_legacy(passcrypt.encode(), clear)
    assert decrypted(passcrypt, stored) == Decrypted(Kind.USABLE, clear, False, Reading.UTF_8)


@settings(max_examples=20)
@given(PASSCRYPT, CLEAR)
def test_what_is_written_is_read_by_the_other(passcrypt: str, clear: str) -> None:
    cipher = Cipher(Passcrypt(passcrypt))
    stored = asyncio.run(cipher.encrypt(clear))
    assert stored.split("$")[2:5] == ["15360", "2", "1"]
    assert read_argon(passcrypt.encode(), stored) == clear
    assert read_legacy(passcrypt.encode(), cipher.encrypt_legacy(clear, width=512)) == clear


@given(st.binary(max_size=100))
def test_the_murmur_hash_is_the_other_s(data: bytes) -> None:
    assert murmur3_x64_128(data) == mmh3.hash_bytes(data, 0, True)


@given(PASSCRYPT.filter(lambda text: not text.isascii()), CLEAR, st.binary(min_size=16, max_size=16))
def test_a_passcrypt_is_tried_in_each_way_in_which_ox_may_have_read_it(passcrypt: str, clear: str, salt: bytes) -> None:
    costs = Costs(8, 1, 1)
    as_read = {
        Reading.LATIN_1: passcrypt.encode().decode("latin-1").encode(),
        Reading.QUESTION_MARKS: "".join(each if each.isascii() else "?" for each in passcrypt).encode(),
    }
    for reading, key in as_read.items():
        expected = Decrypted(Kind.USABLE, clear, False, reading)
        assert decrypted(passcrypt, write_argon(key, clear, bytes(12), salt, costs)) == expected
        assert decrypted(passcrypt, write_legacy(key, clear)) == expected
