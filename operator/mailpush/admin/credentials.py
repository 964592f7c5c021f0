"""The admin endpoint's part for stored credentials. A password goes in and never comes out.

Somebody in the network may read along. So passwords are taken over TLS, or from the pod's own loopback, where
`kubectl port-forward` arrives, and not over plain HTTP from elsewhere: there is no setting for that.
"""

import ipaddress
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, Protocol

import structlog
from aiohttp import web

from mailpush.admin.errors import AdminError
from mailpush.admin.passwords import LARGEST_ID, LONGEST_LINE, EntryRefusedError, password_of
from mailpush.admin.routes import CREDENTIALS
from mailpush.credentials.storage import StorageUnavailableError, UserKey, WriteRefusedError
from mailpush.http.server import MalformedBodyError, read_body

RETRY_SECONDS: Final = 5
MOST_ROWS: Final = 1000
ROWS: Final = 500
OVER_PLAIN_HTTP: Final = (
    "Passwords are not taken over plain HTTP from another machine: set admin.tlsSecretRef of the MailPushConfig, or "
    "use `kubectl mailpush credentials`. If what was sent is somebody's password, have it changed"
)

log = structlog.get_logger(__name__)


class Credential(NamedTuple):
    """What may be told of an entry. Times are seconds since 1970, 0 for never.

    `state`: `usable`, or why not; `encrypted` where nobody has looked into it.
    """

    context: int
    user: int
    state: str
    changed: int
    worked: int
    refused: int


class Put(NamedTuple):
    """What became of one password."""

    stored: bool
    """False where it stood there already."""
    refusal: str = ""
    """Why it cannot be stored, as a sentence without the password."""
    status: int = 422
    """Of HTTP, where it cannot be stored: 409 where that is not the password's fault, 503 where it soon may."""


class Trial(NamedTuple):
    """What a mail server said to a login. `message` is a sentence, `reason` a word as in a PushUser's conditions."""

    outcome: Literal["worked", "refused", "unknown"]
    reason: str
    message: str


class Credentials(Protocol):
    """The credentials that an endpoint puts and tells of. Each may raise AdminError or StorageUnavailableError."""

    async def put(self, passwords: Mapping[UserKey, str]) -> Mapping[UserKey, Put]:
        """Some hundred at most: what became of each. Where it raises, some may be stored; all may be put again."""
        ...

    async def get(self, key: UserKey) -> Credential | None: ...

    async def delete(self, key: UserKey) -> bool:
        """Whether there was one."""
        ...

    async def test(self, key: UserKey) -> Trial:
        """Tries one login; AdminError 429 where the last one was less than a minute ago."""
        ...

    async def page(self, after: UserKey | None, limit: int) -> list[Credential]: ...


def is_private(request: web.Request) -> bool:
    """Whether nobody between can read along: TLS, or a connection within this machine or pod."""
    return request.secure or is_loopback(request.remote)


def is_loopback(address: str | None) -> bool:
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = found.ipv4_mapped if found.version == 6 else None
    return (mapped or found).is_loopback


def require_private(private: bool) -> None:
    """Raises AdminError for a connection over which no password may come."""
    if not private:
        raise AdminError(403, OVER_PLAIN_HTTP)


def require_type(request: web.Request, wanted: str, *others: str) -> None:
    """Raises AdminError for a body of another type: a form, for instance, which curl sends where it is told nothing."""
    if request.content_type not in (wanted, *others) or (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise AdminError(415, f"Send the body as {wanted}, in UTF-8: -H 'Content-Type: {wanted}'")


def unavailable(error: StorageUnavailableError) -> AdminError:
    """What is answered where the store does not do it."""
    return AdminError(503, f"{error} ({error.reason})", RETRY_SECONDS)


def write_refused(error: WriteRefusedError) -> AdminError:
    """What is answered where the store is read, and takes no write."""
    status = refused_status(error)
    return AdminError(status, f"Not stored: {error} ({error.reason})", RETRY_SECONDS if status == 503 else None)


def refused_status(error: WriteRefusedError) -> int:
    return 503 if error.again else 409


class CredentialRoutes:
    """Requests for one user, and the list. The import stands in `bulk`.

    Args:
        private: whether a password may come over a request's connection.
    """

    def __init__(self, credentials: Credentials, private: Callable[[web.Request], bool] = is_private) -> None:
        self._credentials = credentials
        self._private = private

    def add_to(self, router: web.UrlDispatcher) -> None:
        one = CREDENTIALS + "/{context:[0-9]{1,10}}/{user:[0-9]{1,10}}"
        router.add_get(CREDENTIALS, self._list)
        router.add_put(one, self._put)
        router.add_get(one, self._get)
        router.add_delete(one, self._delete)
        router.add_post(one + "/test", self._test)

    async def _put(self, request: web.Request) -> web.Response:
        require_private(self._private(request))
        key = _key(request)
        require_type(request, "application/json")
        try:
            password = password_of(await read_body(request, LONGEST_LINE))
        except EntryRefusedError as error:
            raise AdminError(422, f"Not stored: {error}") from None
        except web.HTTPRequestEntityTooLarge:
            raise AdminError(413, f"Not stored: the body has more than {LONGEST_LINE} bytes") from None
        except TimeoutError:
            raise AdminError(408, "Not stored: the body did not come in time") from None
        except MalformedBodyError:
            raise AdminError(400, "Not stored: the body broke off") from None
        try:
            became = (await self._credentials.put({key: password}))[key]
        except StorageUnavailableError as error:
            raise unavailable(error) from None
        if became.refusal:
            retry = RETRY_SECONDS if became.status == 503 else None
            raise AdminError(became.status, f"Not stored: {became.refusal}", retry)
        if became.stored:
            log.info("credentials_put", context=key[0], user=key[1])
        return web.json_response({"stored": True, "unchanged": not became.stored})

    async def _get(self, request: web.Request) -> web.Response:
        key = _key(request)
        try:
            found = await self._credentials.get(key)
        except StorageUnavailableError as error:
            raise unavailable(error) from None
        if found is None:
            raise none_stored(key)
        return web.json_response(_shown(found))

    async def _delete(self, request: web.Request) -> web.Response:
        key = _key(request)
        try:
            deleted = await self._credentials.delete(key)
        except StorageUnavailableError as error:
            raise unavailable(error) from None
        log.info("credentials_delete", context=key[0], user=key[1], deleted=deleted)
        return web.json_response({"deleted": deleted})

    async def _test(self, request: web.Request) -> web.Response:
        key = _key(request)
        try:
            trial = await self._credentials.test(key)
        except StorageUnavailableError as error:
            raise unavailable(error) from None
        log.info("credentials_test", context=key[0], user=key[1], outcome=trial.outcome, reason=trial.reason)
        return web.json_response(trial._asdict())

    async def _list(self, request: web.Request) -> web.Response:
        after, limit = _after(request), _limit(request)
        try:
            found = await self._credentials.page(after, limit)
        except StorageUnavailableError as error:
            raise unavailable(error) from None
        more = f"{found[-1].context}:{found[-1].user}" if len(found) == limit else None
        return web.json_response({"credentials": [_shown(one) for one in found], "next": more})


def none_stored(key: UserKey) -> AdminError:
    return AdminError(404, f"No credentials are stored for user {key[1]} in context {key[0]}")


def _key(request: web.Request) -> UserKey:
    if request.query_string and request.method != "GET":  # what stands there stands in logs of proxies, too
        raise AdminError(400, "Nothing stands behind a ? here: a password goes into the body")
    key = int(request.match_info["context"]), int(request.match_info["user"])
    if not all(1 <= number <= LARGEST_ID for number in key):
        raise AdminError(400, f"Context and user are numbers from 1 to {LARGEST_ID}")
    return key


def _after(request: web.Request) -> UserKey | None:
    text = request.query.get("after")
    if text is None:
        return None
    context, colon, user = text.partition(":")
    if not colon or not all(one.isascii() and one.isdigit() and len(one) <= 10 for one in (context, user)):
        raise AdminError(400, "after is context:user, such as 1:249")
    return int(context), int(user)


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(ROWS))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_ROWS):
        raise AdminError(400, f"limit is a number from 1 to {MOST_ROWS}")
    return int(text)


def _shown(one: Credential) -> dict[str, object]:
    times = {name: _time(getattr(one, name)) for name in ("changed", "worked", "refused")}
    return {"context": one.context, "user": one.user, "state": one.state, **times}


def _time(seconds: int) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None
