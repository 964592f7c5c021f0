"""Any response that RFC 3501, RFC 9051 and their extensions allow a server, for Hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

Bytes = st.SearchStrategy[bytes]


def joined(*parts: Bytes | bytes) -> Bytes:
    return st.tuples(*(st.just(part) if isinstance(part, bytes) else part for part in parts)).map(b"".join)


def separated(part: Bytes, *, least: int = 0, most: int = 4) -> Bytes:
    return st.lists(part, min_size=least, max_size=most).map(b" ".join)


def in_parentheses(part: Bytes, *, least: int = 0) -> Bytes:
    return joined(b"(", separated(part, least=least), b")")


_CHARS = bytes(range(1, 128))
# RFC 3501: all but atom-specials. `[` is none of them, `]` is one, but not of an astring.
_ATOM_CHARS = bytes(char for char in _CHARS if 32 < char < 127 and char not in b'(){%*"\\]')
atom = st.lists(st.sampled_from(_ATOM_CHARS), min_size=1, max_size=8).map(bytes)
_LIKE_SECTIONS = st.sampled_from([b"[todo", b"a[b", b"BODY[", b"BODY[x", b"[[", b"NIL", b"FLAGS", b"UID"])
keyword = atom | _LIKE_SECTIONS
flag = keyword | atom.map(lambda name: b"\\" + name) | st.sampled_from([b"\\Seen", b"\\Deleted", b"\\*"])
number = st.integers(0, 2**32 - 1).map(lambda value: b"%d" % value)
identifier = st.integers(1, 2**32 - 1).map(lambda value: b"%d" % value)
number64 = st.integers(0, 2**63 - 1).map(lambda value: b"%d" % value)

_text_chars = st.characters(codec="utf-8", exclude_characters="\0\r\n")
text = st.text(_text_chars, min_size=1, max_size=20).map(str.encode) | st.sampled_from(
    [b"ends as {5}", b"{0}", b"[", b"]", b'"', b"(("]
)
quoted = st.text(_text_chars, max_size=12).map(
    lambda value: b'"' + value.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'
)
literal = st.binary(max_size=40).map(lambda value: b"{%d}\r\n" % len(value) + value)
literal8 = literal.map(lambda value: b"~" + value)
string = quoted | literal
nstring = string | st.just(b"NIL")
astring = st.lists(st.sampled_from(_ATOM_CHARS + b"]"), min_size=1, max_size=8).map(bytes) | string

_part = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(lambda part: b".".join(b"%d" % each for each in part))
_fields = joined(st.sampled_from([b"HEADER.FIELDS ", b"HEADER.FIELDS.NOT "]), in_parentheses(astring, least=1))
_section_text = st.just(b"") | st.sampled_from([b"HEADER", b"TEXT"]) | _fields
_section = joined(b"[", _section_text | _part | joined(_part, b".", _section_text | st.just(b"MIME")), b"]")
_origin = st.just(b"") | number.map(lambda value: b"<" + value + b">")
_tree = st.recursive(nstring | number, in_parentheses, max_leaves=12)
fetch_item = st.one_of(
    joined(b"FLAGS ", in_parentheses(flag)),
    joined(b"UID ", identifier),
    joined(b"BODY", _section, _origin, b" ", nstring),
    joined(b"BINARY[", _part, b"]", _origin, b" ", nstring | literal8),
    joined(b"BINARY.SIZE[", _part, b"] ", number),
    joined(st.sampled_from([b"BODY ", b"BODYSTRUCTURE ", b"ENVELOPE "]), in_parentheses(_tree)),
    joined(b"RFC822.SIZE ", number64),
    joined(st.sampled_from([b"RFC822 ", b"RFC822.HEADER ", b"RFC822.TEXT ", b"PREVIEW ", b"X-ANYTHING "]), nstring),
    st.just(b'INTERNALDATE "17-Jul-1996 02:44:25 -0700"'),
    joined(b"MODSEQ (", number64, b")"),
    joined(b"EMAILID (", atom, b")"),
    joined(b"X-GM-LABELS ", in_parentheses(astring | flag)),
)
_fetch = joined(b"FETCH ", in_parentheses(fetch_item, least=1))

_status_item = st.one_of(
    joined(st.sampled_from([b"MESSAGES ", b"UIDNEXT ", b"UNSEEN ", b"RECENT ", b"SIZE ", b"HIGHESTMODSEQ "]), number64),
    joined(b"MAILBOXID (", atom, b")"),
    st.just(b"APPENDLIMIT NIL"),
)
_code = st.one_of(
    st.sampled_from(
        [b"ALERT", b"PARSE", b"READ-ONLY", b"TRYCREATE", b"CLOSED", b"UNAVAILABLE", b"X.Y-Z", b"UIDNOTSTICKY"]
    ),
    joined(b"PERMANENTFLAGS ", in_parentheses(flag)),
    joined(st.sampled_from([b"UIDNEXT ", b"UIDVALIDITY ", b"UNSEEN "]), identifier),
    joined(b"HIGHESTMODSEQ ", number64),
    joined(b"BADCHARSET ", in_parentheses(atom | quoted.filter(lambda value: b"]" not in value) | literal, least=1)),
    joined(b"X", atom, b" ", text.filter(lambda value: b"]" not in value and b"{" not in value)),
    joined(b"CAPABILITY IMAP4rev1 ", separated(atom, most=3)),
)
_resp_text = text | joined(b"[", _code, b"] ", text)
status_response = joined(st.sampled_from([b"OK ", b"NO ", b"BAD ", b"ok "]), _resp_text)

_data = st.one_of(
    status_response,
    joined(number, st.sampled_from([b" EXISTS", b" RECENT", b" EXPUNGE", b" exists"])),
    joined(number, b" ", _fetch),
    joined(b"CAPABILITY IMAP4rev1 ", separated(atom, most=4)),
    joined(b"FLAGS ", in_parentheses(flag)),
    joined(st.sampled_from([b"LIST ", b"LSUB "]), in_parentheses(flag), b' "/" ', astring),
    joined(st.sampled_from([b"SEARCH ", b"SORT "]), separated(number)),
    joined(b'ESEARCH (TAG "M7") UID ALL ', number, b":", number),
    joined(b"STATUS ", astring, b" ", in_parentheses(_status_item)),
    joined(b"VANISHED (EARLIER) ", number, b":", number),
    joined(b"ENABLED ", separated(atom)),
    joined(b"ID ", st.just(b"NIL") | joined(b"(", string, b" ", nstring, b")")),
    joined(b"METADATA ", astring, b" ", joined(b"(", astring, b" ", nstring, b")") | separated(astring, least=1)),
    joined(b'NAMESPACE (("" "/")) NIL ', in_parentheses(_tree)),
    joined(b"QUOTA ", astring, b" (STORAGE ", number, b" ", number, b")"),
    joined(b"THREAD ", in_parentheses(number)),
)
untagged = joined(b"* ", _data, b"\r\n")
"""Any untagged response but BYE, which ends the connection, and PREAUTH, which is a greeting."""
