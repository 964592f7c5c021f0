"""Gets the mails that a place owes from a server that may refuse some of them."""

from collections.abc import Callable, Iterable
from typing import Final

from mailpush.imap.client import Fetch, ImapClient
from mailpush.listener.mechanisms.metrics import NOT_READ
from mailpush.listener.mechanisms.place import Place

TRIES: Final = 4
"""How often the server is asked for a mail: with others, alone, and twice for its flags alone."""

Notify = Callable[[Fetch], bool]
"""Notifies of a mail; False where it is not kept, so that the server has to be asked for it again."""


async def read_owed(imap: ImapClient, place: Place, notify: Notify) -> list[int]:
    """Notifies of all that is owed, as far as the server gives it; returns the UIDs that are given up.

    One mail that the server does not give must not hold up the others. So those that are new are asked for together,
    and what is left after that alone: without its header where that is refused, and not at all after `TRIES`. A try
    counts before it is made, since a server may end the connection in place of an answer.

    Raises:
        ImapError: the connection ended. The next one goes on from here.
    """
    new = [uid for uid, tries in place.owed.items() if not tries]
    if new:
        for uid in new:
            place.asking(uid)
        answer = await imap.fetch_headers(new)
        _notify_whole(answer.messages, place, notify)
        if not answer.refused:
            _settle_missing(new, answer.messages, place)
    given_up = []
    for uid, tries in sorted(place.owed.items(), key=lambda owed: (owed[1], owed[0])):
        if 0 < tries < TRIES:  # not one that was postponed just now
            await _read_alone(imap, place, uid, notify)
        if place.owed.get(uid, 0) >= TRIES:
            NOT_READ.labels("skipped").inc()
            place.settle(uid)
            given_up.append(uid)
    return given_up


async def _read_alone(imap: ImapClient, place: Place, uid: int, notify: Notify) -> None:
    place.asking(uid)
    if place.owed[uid] == 2:
        answer = await imap.fetch_headers([uid])
        _notify_whole(answer.messages, place, notify)
        if not answer.refused:
            _settle_missing([uid], answer.messages, place)
        if place.owed.get(uid) != 2:
            return
    answer = await imap.fetch_flags([uid])
    for message in answer.messages:
        if _notify_one(message, place, notify):
            NOT_READ.labels("without_header").inc()
    if not answer.refused:
        _settle_missing([uid], answer.messages, place)


def _notify_whole(messages: Iterable[Fetch], place: Place, notify: Notify) -> None:
    for message in messages:
        if message.header is not None:
            _notify_one(message, place, notify)


def _notify_one(message: Fetch, place: Place, notify: Notify) -> bool:
    if kept := notify(message):
        place.settle(message.uid)
    else:
        place.postpone(message.uid)
    return kept


def _settle_missing(asked: Iterable[int], messages: Iterable[Fetch], place: Place) -> None:
    """What an answer of OK leaves out is not there any more, or never was."""
    for uid in set(asked).difference(message.uid for message in messages):
        place.settle(uid)
