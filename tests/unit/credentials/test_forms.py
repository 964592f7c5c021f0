"""What a row is said to be, before and after its key is looked for; and that no row costs more than the limits."""

import asyncio
import string
from base64 import b64encode
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailpush.credentials import argon
from mailpush.credentials.cipher import Cipher, Decrypted, Kind, Passcrypt
from mailpush.credentials.forms import LIMITS, MAX_ROW, ArgonRow, LegacyRow, Limits, Parameters, classify, java_trim
from tests.sites.ox_cipher import Costs, write_argon, write_legacy

IV = b64encode(bytes(12)).decode()
SALT = b64encode(bytes(16)).decode()
DATA = b64encode(bytes(20)).decode()


def row(
    *, iv: str = IV, salt: str = SALT, memory: str = "15360", passes: str = "2", lanes: str = "1", data: str = DATA
) -> str:
    return "$".join([iv, salt, memory, passes, lanes, data])


@pytest.mark.parametrize(
    ("stored", "kind"),
    [
        ("", Kind.BLANK),
        (" \t\r\n\x00\x1f", Kind.BLANK),
        ("\u00a0\u2003", Kind.BLANK),
        ("geheim", Kind.CLEAR_TEXT),
        ("hunter22", Kind.CLEAR_TEXT),  # base64 of six bytes
        ("Grüße", Kind.CLEAR_TEXT),
        ("\ud800", Kind.CLEAR_TEXT),
        ("$", Kind.CLEAR_TEXT),
        ("$$$$$", Kind.CLEAR_TEXT),
        ("a$b$1$2$3$c", Kind.CLEAR_TEXT),
        (b64encode(bytes(16)).decode()[:-2], Kind.CLEAR_TEXT),  # OX always writes the padding
        ("4wbkxi14Um ulLSUhh71kcw==", Kind.CLEAR_TEXT),
        (IV + "$", Kind.DAMAGED),
        (f"{IV}${SALT[:10]}", Kind.DAMAGED),
        (row()[:52], Kind.DAMAGED),
        (row(data=b64encode(bytes(15)).decode()), Kind.DAMAGED),
        (row(data=DATA[:-1]), Kind.DAMAGED),
        (row(data=DATA[:8] + "\n" + DATA[8:]), Kind.DAMAGED),
        (row() + "$", Kind.DAMAGED),
        (row(iv=""), Kind.DAMAGED),
        (row(iv="!"), Kind.DAMAGED),
        (row(iv=b64encode(bytes(16)).decode()), Kind.DAMAGED),
        (row(salt=""), Kind.DAMAGED),
        (row(salt=b64encode(bytes(15)).decode()), Kind.DAMAGED),
        (row(memory="0"), Kind.DAMAGED),
        (row(passes="0"), Kind.DAMAGED),
        (row(lanes="0"), Kind.DAMAGED),
        (row(memory="-15360"), Kind.DAMAGED),
        (row(memory="+15360"), Kind.DAMAGED),
        (row(memory=" 15360"), Kind.DAMAGED),
        (row(memory="15360\n"), Kind.DAMAGED),
        (row(memory="15_360"), Kind.DAMAGED),
        (row(memory="1e4"), Kind.DAMAGED),
        (row(memory="0x3C00"), Kind.DAMAGED),
        (row(memory="015360"), Kind.DAMAGED),
        (row(memory="١٥٣٦٠"), Kind.DAMAGED),
        (row(memory="１５３６０"), Kind.DAMAGED),
        (row(memory=""), Kind.DAMAGED),
        (row(memory="7"), Kind.REFUSED_PARAMETERS),
        (row(memory="31", lanes="4"), Kind.REFUSED_PARAMETERS),
        (row(memory=str(1024 * 1024 + 1)), Kind.REFUSED_PARAMETERS),
        (row(memory="2147483648"), Kind.REFUSED_PARAMETERS),
        (row(memory="9" * 3000), Kind.REFUSED_PARAMETERS),
        (row(passes="65"), Kind.REFUSED_PARAMETERS),
        (row(lanes="65"), Kind.REFUSED_PARAMETERS),
        (row(memory=str(1024 * 1024), passes="5"), Kind.REFUSED_PARAMETERS),
        ("A" * (MAX_ROW + 1), Kind.DAMAGED),
        (" " * (MAX_ROW + 1), Kind.DAMAGED),
    ],
)
def test_a_row_that_is_no_use_is_told_by_its_form(stored: str, kind: Kind) -> None:
    assert classify(stored) is kind


@pytest.mark.parametrize(
    "asked",
    [
        Parameters(bytes(16), 8, 1, 1),
        Parameters(bytes(16), 512, 1, 64),
        Parameters(bytes(16), 1024 * 1024, 4, 1),
        Parameters(bytes(16), 64 * 1024, 64, 64),
    ],
)
def test_what_a_limit_names_is_still_allowed(asked: Parameters) -> None:
    _, memory, passes, lanes = asked
    found = classify(row(memory=str(memory), passes=str(passes), lanes=str(lanes)))
    assert found == ArgonRow(bytes(12), asked, bytes(20), at_width=False)


def test_a_row_is_taken_apart_without_what_java_trims() -> None:
    assert classify(f"\x00\t {row()}\r\n") == classify(row())
    assert classify(f"{b64encode(bytes(32)).decode()}\n") == LegacyRow(bytes(32), at_width=False)
    assert classify(f"{b64encode(bytes(48)).decode()} ") == LegacyRow(bytes(48), at_width=True)
    assert java_trim("\u00a0x\u2003") == "\u00a0x\u2003"


LEGACY = write_legacy(b"other", "secret")
ARGON = write_argon(b"other", "secret", bytes(12), bytes(16), Costs(8, 1, 1))
NUMBERS = st.one_of(
    st.integers(-9, 2**70).map(str),
    st.sampled_from(["+5", "-1", " 8", "8 ", "٨", "８", "08", "0", "", "1e3", "²", "2147483647", "9" * 5000]),
)
BASE64 = st.one_of(st.binary(max_size=40).map(lambda data: b64encode(data).decode()), st.text(max_size=8))
SHAPED = st.builds(
    row,
    iv=st.just(IV) | BASE64,
    salt=st.just(SALT) | BASE64,
    memory=NUMBERS,
    passes=NUMBERS,
    lanes=NUMBERS,
    data=st.just(DATA) | BASE64,
)


@st.composite
def spoilt(draw: st.DrawFn) -> str:
    """A good row of which some characters are other ones, gone, or there twice."""
    text = draw(st.sampled_from([LEGACY, ARGON]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        insert = draw(st.text(max_size=2) | st.sampled_from([*string.digits, "$", "=", "+", "\n"]))
        text = text[:at] + insert + text[at + draw(st.integers(0, 2)) :]
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


@pytest.fixture(scope="module")
def derived() -> Iterator[list[Parameters]]:
    """What keys were asked for. At the limits one takes seconds, so none is derived."""
    asked: list[Parameters] = []

    def derive(secret: bytes, parameters: Parameters) -> bytes:
        asked.append(parameters)
        return bytes(32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argon, "_derived", derive)
        yield asked


@given(st.one_of(st.text(), st.text(st.characters()), SHAPED, spoilt()))
@example(row(memory="2147483647"))
@example(row(memory=str(1024 * 1024), passes="64"))
def test_no_row_raises_gives_out_what_it_did_not_decrypt_or_costs_more_than_the_limits(
    derived: list[Parameters], stored: str
) -> None:
    derived.clear()
    found = asyncio.run(Cipher(Passcrypt("ä"), Passcrypt("ö"), limits=Limits()).decrypt(stored))
    assert isinstance(found, Decrypted)
    assert found.kind is not Kind.USABLE
    assert found.clear is None
    assert len(derived) <= 6  # three ways to read each of two passcrypts
    for each in derived:
        assert 8 * each.lanes <= each.memory <= 1024 * 1024
        assert each.iterations <= 64
        assert each.lanes <= 64
        assert each.memory * each.iterations <= LIMITS.work
