"""Senders and subjects as mailers write them, and as nobody should."""

from __future__ import annotations

import sys
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailpush.notifications.charsets import decode_bytes
from mailpush.notifications.encoded_words import decode_words
from mailpush.notifications.headers import MAX_ADDRESS, MAX_NAME, MAX_SUBJECT, decode_sender, decode_subject

SENDERS = [
    ("Bob <b@x>", ("b@x", "Bob")),
    ("b@x", ("b@x", None)),
    ('"Müller, Jörg" <j@x>', ("j@x", "Müller, Jörg")),
    ("=?utf-8?Q?M=C3=BCller=2C_=3Ca=40b=3E?= <j@x>", ("j@x", "Müller, <a@b>")),
    ("a@x, b@y", ("a@x", None)),
    ("nobody", (None, "nobody")),
    ("", (None, None)),
    ("<>", (None, "<>")),
    # A name that looks like an address.
    ("boss@example.com <mallory@example.org>", ("mallory@example.org", "boss@example.com")),
    ('"boss@example.com" <mallory@example.org>', ("mallory@example.org", "boss@example.com")),
    ("<boss@example.com> <mallory@example.org>", ("mallory@example.org", "<boss@example.com>")),
    ("boss@example.com, Mallory <m@example.org>", ("m@example.org", "boss@example.com, Mallory")),
    ('"<boss@example.com>" <m@example.org>', ("m@example.org", "<boss@example.com>")),
    ("m@example.org (Boss <boss@example.com>)", ("m@example.org", "Boss <boss@example.com>")),
    ("boss@example.com <nothing>", (None, "boss@example.com <nothing>")),
    ("boss@example.com m@example.org", (None, "boss@example.com m@example.org")),
    ("=?utf-8?Q?boss=40example.com?= <m@example.org>", ("m@example.org", "boss@example.com")),
    ("=?utf-8?Q?Boss_=3Cboss=40example.com=3E?=", (None, "Boss <boss@example.com>")),
    # What RFC 5322 wants quoted, unquoted.
    ("Kim Example, MD <k@example.org>", ("k@example.org", "Kim Example, MD")),
    ("Re: Team; all <t@example.org>", ("t@example.org", "Re: Team; all")),
    ("Smile :( <s@example.org>", ("s@example.org", "Smile :(")),
    ('"Bob <b@x>', ("b@x", "Bob")),
    ("DOMAIN\\bob <b@x>", ("b@x", "DOMAIN\\bob")),
    ('=?utf-8?Q?"Bob"?= <b@x>', ("b@x", "Bob")),
    # Other legal and common forms.
    ("A <a@x>, B <b@y>", ("a@x", "A")),
    ("b@x (Bob)", ("b@x", "Bob")),
    ("<b@x> Bob", ("b@x", "Bob")),
    ("Bob b@x", ("b@x", "Bob")),
    ("Team: a@x, b@y;", ("a@x", None)),
    ('"a \\"b\\" c" <b@x>', ("b@x", 'a "b" c')),
    ('<"a b"@x>', ('"a b"@x', None)),
    ("< b @ x . org >", ("b@x.org", None)),
    ("<@r,@s:u@x>", ("u@x", None)),
    ("<mailto:b@x>", ("b@x", None)),
    ("u@[IPv6:::1]", ("u@[IPv6:::1]", None)),
    ("Bob\r\n <b@x>", ("b@x", "Bob")),
    ("x" * 70_000 + " <b@x>", ("b@x", "x" * MAX_NAME)),
    ("x" * 70_000, (None, "x" * MAX_NAME)),
    ("A <a@x>, " + "B <b@y>, " * 9_000, ("a@x", "A")),
    (f"<{'a' * 400}@x>", (None, None)),
]


@pytest.mark.parametrize(("raw", "shown"), SENDERS)
def test_the_address_is_what_stands_in_the_last_brackets(raw: str, shown: tuple[str | None, str | None]) -> None:
    assert decode_sender(raw) == shown


def b(raw: bytes, charset: str = "utf-8") -> str:
    return f"=?{charset}?B?{b64encode(raw).decode()}?="


SUBJECTS = [
    ("plain", "plain"),
    ("=?utf-8?Q?a=C3?= =?utf-8?Q?=A4b?=", "aäb"),
    ("=?UTF-8?B?4pyT?=\r\n =?utf-8*en?q?_x?=", "✓ x"),
    ("=?iso-8859-1?q?gr=FC=DFe?= und mehr", "grüße und mehr"),
    ("=?nonsense?q?abc?= x", "abc x"),
    ("=?utf-8?B?####?= y", "=?utf-8?B?####?= y"),
    ("=?utf-8?Q?broken", "=?utf-8?Q?broken"),
    ("a\tb\r\n c", "a b c"),
    ("\u202egnp.exe\x00\x1b[31m", "gnp.exe[31m"),
    ("\ud800", "?"),
    ("x" * 70_000, "x" * MAX_SUBJECT),
    ("=?utf-8?Q?" + "=F0=9F=98=80" * 998 + "?=", "😀" * 998),
    (" ".join(b("😀".encode() * 11) for _ in range(91)), "😀" * MAX_SUBJECT),
    # B cut anywhere, unpadded, folded, of two texts, in the alphabet of URLs.
    ("=?utf-8?B?w5xiZXI?=", "Über"),
    ("=?utf-8?B?w5x?= =?utf-8?B?iZXI=?=", "Über"),
    ("=?utf-8?B?w?= =?utf-8?B?5xiZXI=?=", "Über"),
    ("=?utf-8?B?YWJjZ?=", "abc"),
    ("=?utf-8?B?w5xi\r\n ZXI=?=", "Über"),
    ("=?utf-8?B?YWJj=?= =?utf-8?B?YQ==Yg==?=", "abcab"),
    ("=?utf-8?B?8J-YgA==?=", "😀"),
    ("=?utf-8?B??= x", "x"),
    # Q with question marks, blanks, no blank behind it, raw 8-bit text.
    ("=?utf-8?Q?what??=", "what?"),
    ("=?utf-8?Q?what?no_yes?= x", "what?no yes x"),
    ("=?utf-8?Q?a?=3Fb?= c", "a??b c"),
    ("=?utf-8?Q?two words?= x", "two words x"),
    ("=?utf-8?Q?a?==?utf-8?Q?b?=", "ab"),
    ("(=?utf-8?Q?a?=)", "(a)"),
    ("=?utf-8?Q?50=25_=ZZ?=", "50% =ZZ"),
    ("=?utf-8?Q?gr\u00fc=C3=9Fe?=", "grüße"),
    ("=?utf-8?Q?never ends =?utf-8?Q?ok?=", "=?utf-8?Q?never ends ok"),
    # Charsets.
    ("=?iso-8859-1?Q?it=92s?=", "it’s"),
    ("=?latin1?Q?=80?=", "€"),
    ("=?us-ascii?Q?=93x=94?=", "“x”"),
    (b("镕€".encode("gb18030"), "gb2312"), "镕€"),
    (b("①㈱髙".encode("cp932"), "shift_jis"), "①㈱髙"),
    (b(b"\x1b$B\x2d\x21\x7c\x62\x1b(B ok", "iso-2022-jp"), "①髙 ok"),
    (b(b"\x1b(J\\~\x1b(I1\x1b(B", "iso-2022-jp"), "¥‾ｱ"),
    (b("漢字".encode("iso2022_jp"), "ISO-2022-JP"), "漢字"),
    (b(b"\xad\xa1\xb4\xc1\x8e\xb1", "euc-jp"), "①漢ｱ"),
    (b("똠".encode("cp949"), "ks_c_5601-1987"), "똠"),
    (b("한".encode("iso2022_kr"), "iso-2022-kr"), "한"),
    (b(b"\xe0\xb8", "tis-620"), "เธ"),
    (b("x".encode("utf-16"), "utf-16"), "x"),
    (b("x".encode("utf-16-be"), "utf-16be"), "x"),
    ("=?utf-7?Q?+2AA-?=", "?"),
    ("=?unknown-8bit?Q?gr=FC=DFe_=92?=", "grüße ’"),
    ("=?unknown-8bit?Q?gr=C3=BC?=", "grü"),
    ("=?punycode?Q?abc-?=", "abc-"),
    ("=?rot13?Q?abc?=", "abc"),
]


@pytest.mark.parametrize(("raw", "shown"), SUBJECTS)
def test_a_subject_is_shown_as_a_person_reads_it(raw: str, shown: str) -> None:
    assert decode_subject(raw) == shown


@given(st.text(min_size=1, max_size=30), st.integers(1, 7), st.booleans())
def test_a_text_survives_being_cut_into_words_anywhere(text: str, size: int, base64: bool) -> None:
    raw = text.encode("utf-8", "replace")
    parts = [raw[at : at + size] for at in range(0, len(raw), size)]
    quoted = [f"=?utf-8?Q?{''.join(f'={byte:02X}' for byte in part)}?=" for part in parts]
    words = [b(part) for part in parts] if base64 else quoted
    assert decode_words(" ".join(words)) == raw.decode("utf-8")


@given(st.binary(max_size=200), st.sampled_from(["iso-2022-jp", "euc-jp", "gb2312", "utf-7", "utf-16", "hz-gb-2312"]))
def test_any_bytes_of_a_charset_have_a_bounded_text(raw: bytes, charset: str) -> None:
    assert len(decode_bytes(raw, charset)) <= len(raw)


@given(st.text(max_size=40))
def test_any_charset_is_taken_or_guessed(charset: str) -> None:
    assert decode_bytes(b"abc", charset) is not None


ALL_JAPANESE = [bytes((row, cell)) for row in range(0x21, 0x75) for cell in range(0x21, 0x7F)]


def test_japanese_that_python_knows_is_the_same_here() -> None:
    """But for the signs that the two standards map differently: tilde, minus, bars and currency."""
    other = set("~∥−‖〜¢£¬—＼\\￢￠￡－～―")
    for pair in ALL_JAPANESE:
        seven_bit = b"\x1b$B" + pair + b"\x1b(B"
        try:
            known = seven_bit.decode("iso2022_jp")
        except UnicodeDecodeError:
            continue
        if known not in other:
            assert decode_bytes(seven_bit, "iso-2022-jp") == known
            assert decode_bytes(bytes(byte | 0x80 for byte in pair), "euc-jp") == known


ALPHABET = '=?utf-8QqBb_<>@",;:()\\ \x00\x1b\r\n\t$\u202e\u2028\ufeff\ud800ä'
HOSTILE = st.text() | st.text(alphabet=ALPHABET, max_size=100) | st.text(alphabet=ALPHABET + "AZaz09+/", max_size=100)
WORDS = st.builds(
    "=?{}?{}?{}?=".format,
    st.sampled_from(["utf-8", "utf-7", "utf-16", "iso-2022-jp", "euc-jp", "gb2312", "x", "unicode-escape", "idna"]),
    st.sampled_from("BbQq"),
    HOSTILE | st.binary(max_size=40).map(lambda raw: b64encode(raw).decode()),
)


@given(st.lists(HOSTILE | WORDS, max_size=6).map("".join))
def test_any_field_is_shown_in_one_clean_line_of_bounded_length(raw: str) -> None:
    email, name = decode_sender(raw)
    shown = ((decode_subject(raw), MAX_SUBJECT), (email or "", MAX_ADDRESS), (name or "", MAX_NAME))
    for text, most in shown:
        assert len(text) <= most
        assert len(text.encode("utf-8")) <= 4 * most, "and no lone surrogate"
        assert not [sign for sign in text if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")]
    assert email is None or "@" in email


def steps(decode: Callable[[str], Any], raw: str) -> int:
    """Calls of functions, those written in C as well, that decoding takes."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        decode(raw)
    finally:
        sys.setprofile(before)
    return count


MOST_STEPS = 40_000
UNITS = ["@", '"\\', "<", "(", ")", "=?a?Q?", "=?a?Q??=", "=?a?B?YWI?= =?b?B?YWI?=", "?=AA", "a@ ", "a@b,", "<a@x>,"]
UNITS += ["=", "A=", "=?", "?", " ", ". ", '"', "\\", "=?a?B?A?= ", "a\n ", "=?a?Q?=?=", "=?utf-8?Q?=F0?= "]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("before", ["", "=?utf-8?Q?", "=?utf-8?B?", "=?euc-jp?Q?a=A1=A1", '"', "<", "Bob ("])
def test_a_hostile_field_of_any_length_takes_bounded_steps(unit: str, before: str) -> None:
    for decode in (decode_sender, decode_subject):
        few, many = (steps(decode, before + unit * (size // len(unit))) for size in (16_384, 262_144))
        assert few <= MOST_STEPS
        assert many <= MOST_STEPS, "what is beyond the bound costs nothing"


@settings(max_examples=40)
@given(st.text(alphabet=ALPHABET, min_size=1, max_size=12), st.lists(HOSTILE | WORDS, max_size=2).map("".join))
def test_any_repeated_field_takes_bounded_steps(unit: str, before: str) -> None:
    raw = before + unit * (70_000 // len(unit))
    assert steps(decode_subject, raw) <= MOST_STEPS
    assert steps(decode_sender, raw) <= MOST_STEPS
