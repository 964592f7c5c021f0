"""Paths of the API: a name that a user has written never leads anywhere else."""

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.kube.errors import NotFoundError
from mailpush.kube.resources import SECRET, STATEFUL_SET

HOSTILE = ("", ".", "..", "../../team-b/secrets/mail-master", "a/b", "%2e%2e", "a%2Fb", "..%2f..")


def test_a_path_names_the_collection_the_object_or_its_subresource() -> None:
    assert SECRET.path("mail") == "/api/v1/namespaces/mail/secrets"
    assert SECRET.path("mail", "it") == "/api/v1/namespaces/mail/secrets/it"
    assert STATEFUL_SET.path("mail", "it", "scale") == "/apis/apps/v1/namespaces/mail/statefulsets/it/scale"


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_object_can_be_named_is_not_found_without_a_request(name: str) -> None:
    for arguments in (("mail", name), (name, "it"), ("mail", "it", name)):
        with pytest.raises(NotFoundError):
            SECRET.path(*arguments)


@given(st.text())
def test_whatever_a_name_holds_it_stays_one_segment_of_the_path(name: str) -> None:
    try:
        url = urlsplit("https://api" + SECRET.path("mail", name))
    except NotFoundError:
        return
    assert (url.query, url.fragment) == ("", "")
    *before, last = url.path.split("/")
    assert ("/".join(before), unquote(last)) == ("/api/v1/namespaces/mail/secrets", name)
