"""The access tokens that the settings name. Their source is replaced when the settings change."""

import asyncio
from collections.abc import Callable
from typing import Final

from mailpush.credentials.token_endpoint import EndpointIssuer, TokenEndpoint
from mailpush.credentials.tokens import GivenToken, RenewedTokens, Token, Tokens, TokenUnavailableError
from mailpush.properties.settings import OAuthSettings

MISSING: Final = "TokenMissing"


class CurrentTokens:
    """The source behind one name, so that a changed secret needs no restart. Without one there is no token."""

    def __init__(self, oauth: OAuthSettings | None = None) -> None:
        self._oauth = oauth
        self._observer: Callable[[], None] = lambda: None
        self._source = self._source_of(oauth)
        self._closing: set[asyncio.Task[None]] = set()

    def notify(self, observer: Callable[[], None]) -> None:
        """`observer` is called when a token endpoint that had failed gives tokens again."""
        self._observer = observer

    def use(self, oauth: OAuthSettings | None) -> None:
        """Replaces the source; who waits for the former one is told to come again."""
        if oauth != self._oauth:
            old, self._source, self._oauth = self._source, self._source_of(oauth), oauth
            if old is not None:
                closing = asyncio.create_task(old.close())
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    @property
    def trouble(self) -> TokenUnavailableError | None:
        return self._source.trouble if self._source is not None else None

    @property
    def lacking(self) -> TokenUnavailableError | None:
        """Why there is no token now; None also where the settings want none."""
        if self._source is None:
            return _none_named() if self._oauth is not None else None
        return self._source.lacking

    async def current(self, login: str) -> Token:
        if self._source is None:
            raise _none_named()
        return await self._source.current(login)

    def refused(self, token: Token) -> bool:
        return self._source is not None and self._source.refused(token)

    def worked(self, token: Token) -> None:
        if self._source is not None:
            self._source.worked(token)

    async def close(self) -> None:
        self.use(None)
        await asyncio.gather(*self._closing)

    def _is_back(self) -> None:
        self._observer()

    def _source_of(self, oauth: OAuthSettings | None) -> Tokens | None:
        if oauth is None:
            return None
        if oauth.token:
            return GivenToken(oauth.token)
        if (endpoint := oauth.endpoint) is None:
            return None
        return RenewedTokens(
            EndpointIssuer(
                TokenEndpoint(
                    endpoint.url,
                    endpoint.client_id,
                    endpoint.client_secret,
                    endpoint.scope,
                    endpoint.audience,
                    endpoint.ca_pem,
                    endpoint.authentication,
                )
            ),
            back=self._is_back,
        )


def _none_named() -> TokenUnavailableError:
    return TokenUnavailableError(MISSING, "mailAccess.oauth names neither a token nor a token endpoint", 60.0)
