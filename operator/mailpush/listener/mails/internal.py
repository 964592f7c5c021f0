"""Where other pods hand over the new mails of users that this pod owns."""

import time
from typing import Final, Protocol

import msgspec
from aiohttp import web

from mailpush.http.server import MalformedBodyError, WebServer, read_body
from mailpush.listener.mails import metrics
from mailpush.listener.mails.offer import SlotOwners, TakeResult
from mailpush.listener.mails.signing import (
    ANSWER_HEADER,
    NONCE_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Asked,
    HandoverKeys,
    KeyUnavailableError,
    signed_by,
)
from mailpush.names import INTERNAL_EVENTS_PATH
from mailpush.notifications.callback import MAX_BODY
from mailpush.notifications.notification import NewMail
from mailpush.sharding.slots import slot_of
from mailpush.work.clock import Clock

_MOST: Final = 2 * MAX_BODY
"""Bytes: a folder's name that came in a callback may be longer in our own JSON."""

_decode = msgspec.json.Decoder(NewMail, strict=True).decode


class HandoverTaker(Protocol):
    """The part of the router that is needed here."""

    async def take_over(self, mail: NewMail) -> TakeResult:
        """Offers a mail to this pod's users. Taken means that the other pod may forget it."""


class InternalServer:
    """202 taken (or silent on purpose), 409 not mine with `{"owner": pod}` where it is known, 404 unknown user, 503 no
    room (`{"outcome": "busy"}`: for this user's mails), 401 wrong signature, 400 no mail. Each answer to a request with
    the right signature is signed as well.

    Args:
        taker: takes the mails of this pod's own users.
        now: Unix seconds.
    """

    def __init__(self, taker: HandoverTaker, owners: SlotOwners, key: HandoverKeys, now: Clock = time.time) -> None:
        self._taker = taker
        self._owners = owners
        self._key = key
        self._now = now
        app = web.Application(client_max_size=_MOST)
        app.router.add_post(INTERNAL_EVENTS_PATH, self._events)
        self._server = WebServer(app)

    @property
    def port(self) -> int:
        return self._server.port

    async def start(self, host: str, port: int) -> int:
        """Listens and gives the port. Raises OSError."""
        return await self._server.start(host, port)

    async def close(self) -> None:
        await self._server.close()

    async def _events(self, request: web.Request) -> web.Response:
        try:
            body = await read_body(request, _MOST)
        except (MalformedBodyError, TimeoutError):
            return _answer("malformed", 400)
        try:
            keys = self._key.all()
        except KeyUnavailableError:
            return _answer("full", 503)
        headers = request.headers
        timestamp, signature = headers.get(TIMESTAMP_HEADER), headers.get(SIGNATURE_HEADER, "")
        key = signed_by(keys, timestamp, signature, body, self._now())
        if key is None:
            return _answer("bad_signature", 401)
        try:
            mail = _decode(body)
        except (msgspec.DecodeError, ValueError):
            answer = _answer("malformed", 400)
        else:
            answer = await self._take(mail)
        asked = Asked(key, signature, headers.get(NONCE_HEADER, ""))
        if signed := asked.sign(answer.status, (answer.text or "").encode()):
            answer.headers[ANSWER_HEADER] = signed
        return answer

    async def _take(self, mail: NewMail) -> web.Response:
        match await self._taker.take_over(mail):
            case TakeResult.TAKEN:
                return _answer("taken", 202)
            case TakeResult.DENIED:
                return _answer("denied", 202)
            case TakeResult.UNKNOWN:
                return _answer("unknown_user", 404)
            case TakeResult.BUSY:
                return _answer("busy", 503)
            case TakeResult.NOT_MINE:
                return _answer("not_mine", 409, self._owners.owner_of(slot_of(mail.context_id, mail.user_id)))


def _answer(outcome: str, status: int, owner: str | None = None) -> web.Response:
    metrics.RECEIVED.labels(outcome).inc()
    response = web.json_response(
        {"outcome": outcome} if owner is None else {"outcome": outcome, "owner": owner}, status=status
    )
    if status >= web.HTTPBadRequest.status_code:
        # The sender may mean a successor of this name, whose address it only finds by connecting anew: a pod that was
        # deleted by force may run on, and would be asked again and again.
        response.force_close()
    return response
