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


WHOLE = "some validation rules were not checked because the object was invalid"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            f'P "a" is invalid: [spec.x: Required value, <nil>: Invalid value: "null": {WHOLE}]',
            f"[spec.x: Required value, {WHOLE}]",
        ),
        (f'P "a" is invalid: <nil>: Invalid value: null: {WHOLE}', f"is invalid: {WHOLE}"),
        ('P "a" is invalid: <nil>: Invalid value: "object": no name: "b"', 'is invalid: no name: "b"'),
        ('P "a" is invalid: <nil>: Invalid value: "{\\"a\\": 1}": no', "is invalid: no"),
        ('P "a" is invalid: spec.x: Invalid value: "<nil>": no', 'spec.x: Invalid value: "<nil>": no'),
    ],
)
def test_what_is_said_of_the_whole_object_has_no_path_of_go(message: str, shown: str) -> None:
    error = error_for(422, "Invalid", message)
    assert error.message.endswith(shown)
    assert error.message.startswith('P "a" is invalid: ')
    assert error.message in str(error)
