"""A From field to an address and a name, by one rule on every Python.

The address is what stands in angle brackets last: in `boss@example.com <mallory@example.org>` the name only looks like
an address, and a notification must not show it as one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_HEAD: Final = 4096
MAX_TAIL: Final = 1024
"""Characters of a longer field that are read: its name from the beginning, its address from the end."""

_MOST_CANDIDATES: Final = 16

_TOKEN = re.compile(r'[^"\\()<>,]+|\\.|.', re.DOTALL)
_LAST = re.compile(r"<([^<>]*)>\s*\Z")
_AROUND = re.compile(r"\s*([@.])\s*")
_COMMENT = re.compile(r"\(([^()]*)\)")
_NO_HOST = re.compile(r'[\s@"\\()<>,;:]')


@dataclass(frozen=True, slots=True)
class _Brackets:
    start: int
    end: int
    complete: bool
    """Whether another address follows, so that these are the last brackets of the first one."""


def split_sender(field: str) -> tuple[str | None, str]:
    """The address of a From field, None where it has none, and the text of its name, still encoded.

    Of several addresses it is the first; they are apart where a comma follows a bracket. Never raises.
    """
    head = " ".join(field[:MAX_HEAD].split())
    brackets, balanced = _brackets(head, strict=True)
    if not balanced:
        brackets, _ = _brackets(head, strict=False)
    if len(field) > MAX_HEAD and not (brackets and brackets.complete):
        last = _LAST.search(" ".join(field[-MAX_TAIL:].split()))
        name = head[: brackets.start] if brackets else head
        return (_address(last[1]) if last else None), _unquote(name)
    if brackets is None:
        return _split_bare(head)
    address = _address(head[brackets.start + 1 : brackets.end - 1])
    name = head[: brackets.start].rstrip(" <") or head[brackets.end :].strip(" ,;")
    if address is None:
        return None, _unquote(head)
    comment = _COMMENT.fullmatch(name)
    return address, _unquote(comment[1] if comment else name)


def _brackets(text: str, strict: bool) -> tuple[_Brackets | None, bool]:
    """The last brackets of the first address, and whether every quote and comment ends.

    `strict`: brackets in quotes and comments do not count.
    """
    found: tuple[int, int] | None = None
    start, quoted, depth, boundary = -1, False, 0, False
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if quoted or (strict and sign == '"' and not depth):
            quoted = quoted != (sign == '"')
        elif strict and start < 0 and sign in "()":
            depth = depth + 1 if sign == "(" else max(depth - 1, 0)
        elif depth:
            continue
        elif sign == "<":
            start = token.start()
        elif sign == ">" and start >= 0:
            found, start, boundary = (start, token.end()), -1, True
            continue
        elif sign == "," and boundary and found:
            return _Brackets(*found, complete=True), True
        boundary = boundary and sign.isspace()
    return _Brackets(*found, complete=False) if found else None, not quoted and not depth


def _split_bare(text: str) -> tuple[str | None, str]:
    """A field without brackets: `b@x`, `b@x (Bob)`, or some words of which one is an address."""
    comments = _COMMENT.findall(text)
    rest = _COMMENT.sub(" ", text)
    if "<" in rest and ">" in rest:
        return None, _unquote(text)
    words = rest.replace(",", " , ").split()
    maybe = [at for at, word in enumerate(words) if "@" in word][:_MOST_CANDIDATES]
    addresses = [(at, address) for at in maybe if (address := _address(words[at].strip(";")))]
    apart = "," in words
    if not addresses or (len(addresses) > 1 and not apart):
        return None, _unquote(text)
    at, address = addresses[0]
    if apart and len(addresses) > 1:
        return address, _unquote(comments[0] if comments else "")
    others = " ".join(words[:at] + words[at + 1 :]).replace(" ,", ",").strip(" ,;")
    return address, _unquote(others or (comments[0] if comments else ""))


def _address(text: str) -> str | None:
    """`text` as an address; None where it is none. A route and `mailto:` before it are left out."""
    bare = text.strip()
    if bare.startswith("@"):
        bare = bare.partition(":")[2]
    if bare[:7].lower() == "mailto:":
        bare = bare[7:]
    local, _, host = bare.rpartition("@")
    if not local.rstrip().endswith('"'):
        local, _, host = _AROUND.sub(r"\1", bare).rpartition("@")
        if re.search(r'[\s@"]', local):
            return None
    local, host = local.strip(), host.strip()
    literal = host.startswith("[") and host.endswith("]")
    if not local or not host or _NO_HOST.search(host.replace(":", "") if literal else host):
        return None
    return f"{local}@{host}"


def _unquote(name: str) -> str:
    """Without the quotes of a quoted name, and without the backslashes inside them."""
    text: list[str] = []
    quoted = False
    for token in _TOKEN.finditer(name):
        if token[0] == '"':
            quoted = not quoted
        elif quoted and token[0][0] == "\\":
            text.append(token[0][1:])
        else:
            text.append(token[0])
    return "".join(text).strip()
