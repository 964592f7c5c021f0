"""The lines of the journal: `<crc32> <json>`, `{"id":..,"at":..,"mail":{..}}` for a mail, `{"done":..}` for its end."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from mailpush.notifications.notification import NewMail


class Line(msgspec.Struct, omit_defaults=True):
    id: int | None = None
    at: float = 0.0
    mail: NewMail | None = None
    done: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A new mail in the journal. `at`: Unix seconds at which this pod took it."""

    id: int
    at: float
    mail: NewMail


def mail_line(entry: Entry) -> bytes:
    return _line(Line(id=entry.id, at=entry.at, mail=entry.mail))


def done_line(number: int) -> bytes:
    return _line(Line(done=number))


def read_lines(data: bytes) -> Iterator[tuple[bytes, Line | None]]:
    """Each line as it stands and as it reads; None for one that is torn or damaged."""
    for text in data.splitlines(keepends=True):
        yield text, _read_line(text)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def _line(line: Line) -> bytes:
    text = _encode(line)
    return b"%08x %b\n" % (zlib.crc32(text), text)


def _read_line(text: bytes) -> Line | None:
    checksum, _, body = text.removesuffix(b"\n").partition(b" ")
    try:
        whole = text.endswith(b"\n") and int(checksum, 16) == zlib.crc32(body)
        return _decode(body) if whole else None
    except (ValueError, msgspec.DecodeError):
        return None
