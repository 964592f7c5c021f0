"""Logging in by an access token, which is not known before it is needed."""

from dataclasses import replace

from mailpush.credentials.tokens import Tokens, TokenUnavailableError
from mailpush.imap.client import ImapClient, ImapLogin, Way
from mailpush.imap.errors import ImapTokenError


async def log_in_by_token(client: ImapClient, login: ImapLogin, tokens: Tokens | None) -> Way:
    """Logs in for `login.user`. A token that is refused is renewed once; if the next one is as well, that counts.

    Raises:
        TokenUnavailableError: there is no token now; nothing was sent.
        ImapError: as `ImapClient.login` does.
    """
    if tokens is None:
        raise TokenUnavailableError("TokenMissing", "no source of access tokens is set; see mailAccess.oauth", 60.0)
    token = await tokens.current(login.user)
    try:
        way = await client.login(replace(login, password=token.value))
    except ImapTokenError:
        if not tokens.refused(token):
            raise
        token = await tokens.current(login.user)
        way = await client.login(replace(login, password=token.value))
    tokens.worked(token)
    return way
