"""Which error an answer of the API server is."""

import pytest

from mailpush.kube.errors import ConflictError, ForbiddenError, InvalidError, KubeError, error_for

UNTYPED = (
    "failed to create typed patch object (mail/a; apps/v1, Kind=StatefulSet): .spec.x: field not declared in schema"
)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (422, "invalid", InvalidError),
        (409, "another wrote first", ConflictError),
        (401, "Unauthorized", ForbiddenError),
        (500, "etcd has no leader", KubeError),
        # A server-side apply of a field that there is not: it will be refused for ever, and somebody has to hear of it.
        (500, UNTYPED, InvalidError),
    ],
)
def test_the_error_is_of_the_kind_that_says_what_to_do(status: int, message: str, kind: type[KubeError]) -> None:
    assert type(error_for(status, "", message)) is kind
