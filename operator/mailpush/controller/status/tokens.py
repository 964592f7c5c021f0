"""The condition AccessTokenDegraded: whether pods get the access tokens with which users are logged in. Pure."""

from typing import Final

from mailpush.api.conditions import Verdict
from mailpush.controller.state import ConfigState
from mailpush.controller.status.pod import PodView, saying
from mailpush.controller.status.troubles import common_trouble

TYPE: Final = "AccessTokenDegraded"
_ENDPOINT: Final = "mailAccess.oauth.tokenEndpoint"
_ADVICE: Final = {
    "TokenEndpointUnavailable": f"the token endpoint does not answer: see {_ENDPOINT}.url, and the endpoint itself",
    "TokenRefused": (
        f"the token endpoint refuses the client: see clientId, clientSecretRef, clientAuthentication and scope of "
        f"{_ENDPOINT}"
    ),
    "TokenResponseInvalid": f"the token endpoint answers with what is no token: see {_ENDPOINT}.url",
    "TokenExpired": "the token has ended: put a new one into the Secret that mailAccess.oauth.tokenSecretRef names",
}
_WAITS: Final = (
    "who is listened for already is so still, and who is to start waits for a token as soon as the last one has ended; "
    "the log of a listener pod says more, event token_unavailable"
)


def access_tokens(state: ConfigState, pods: tuple[PodView, ...]) -> Verdict | None:
    """None where no tokens are used, or no pod has taken its Lease yet."""
    settings = state.evaluation.settings if state.evaluation is not None else None
    leases = saying(pods)
    if settings is None or settings.mail is None or settings.mail.oauth is None or not leases:
        return None
    if settings.mail.password_source != "session":  # noqa: S105 - OX's word
        return None
    return common_trouble(
        TYPE,
        [lease.token for lease in leases.values()],
        fine="no pod is kept from its access tokens",
        cannot="get no access token",
        advice=_ADVICE,
        hint="see mailAccess.oauth",
        waits=_WAITS,
    )
