"""OAuth access tokens for mail servers: part of a MailPushConfig."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mailpush.api.meta import BLANKS, Model, SecretKeyReference, rules


class TokenEndpoint(Model):
    """Where access tokens are got by client credentials (RFC 6749, 4.4)."""

    url: Annotated[str, Field(pattern=rf"^https?://[^@{BLANKS}]+$", max_length=2048)]
    """The token endpoint of the identity provider."""
    client_id: Annotated[str, Field(min_length=1, max_length=255)]
    """The client's id."""
    client_secret_ref: SecretKeyReference
    """The client's secret."""
    client_authentication: Literal["basic", "post"] = "basic"
    """How the client shows its secret. basic: in the header, which every endpoint must take (RFC 6749, 2.3.1; OpenID
    Connect calls it client_secret_basic). post: in the form (client_secret_post), for an endpoint that takes only that.
    """
    scope: Annotated[str, Field(max_length=1024)] | None = None
    """The scopes to ask for, with blanks between them."""
    audience: Annotated[str, Field(max_length=1024)] | None = None
    """For whom the token is to be."""
    ca_secret_ref: SecretKeyReference | None = None
    """PEM certificates that the endpoint's must be signed by. Default: the image's own."""


class OAuth(Model):
    """OAuth access tokens with which listeners log in for users (XOAUTH2, OAUTHBEARER)."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!self.enabled || has(self.tokenSecretRef) != has(self.tokenEndpoint)",
                "mailAccess.oauth.enabled is true, so exactly one of mailAccess.oauth.tokenSecretRef and "
                "mailAccess.oauth.tokenEndpoint is needed",
            )
        )
    )

    enabled: bool = False
    """True: with passwordSource session, users without a password of their own are logged in by an access token."""
    mechanism: Literal["auto", "XOAUTH2", "OAUTHBEARER"] = "auto"
    """auto: OAUTHBEARER where the server has it, else XOAUTH2."""
    token_secret_ref: SecretKeyReference | None = None
    """A token that somebody else renews."""
    token_endpoint: TokenEndpoint | None = None
    """Where tokens are got."""
