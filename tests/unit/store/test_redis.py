"""What a URL of Redis names, and what is wrong with one."""

import pytest
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisClusterException, ResponseError

from mailpush.store.redis import RedisAddress, redis_client, trouble_of

URLS = {
    "redis://h": RedisAddress(None, False, (("h", 6379),)),
    "redis://h:1/": RedisAddress(None, False, (("h", 1),)),
    "redis://:p%40%2Fw@h:1/2": RedisAddress(None, False, (("h", 1),), db=2, password="p@/w"),
    "redis://u:p@x@[::1]:7": RedisAddress(None, False, (("::1", 7),), username="u", password="p@x"),
    "rediss://[fe80::1]/3": RedisAddress(None, True, (("fe80::1", 6379),), db=3),
    "redis+cluster://a:1,b": RedisAddress("cluster", False, (("a", 1), ("b", 6379))),
    "rediss+sentinel://a,b:2/main": RedisAddress("sentinel", True, (("a", 26379), ("b", 2)), "main"),
    "redis+sentinel://:p@a:1/main/4": RedisAddress("sentinel", False, (("a", 1),), "main", 4, password="p"),
}


@pytest.mark.parametrize(("url", "address"), URLS.items(), ids=URLS)
def test_a_url_names_servers(url: str, address: RedisAddress) -> None:
    assert RedisAddress.parse(url) == address


@pytest.mark.parametrize(
    "url",
    ["", "http://h/S3cret", "redis://", "redis://h/S3cret", "redis://:S3cret@h:x", "redis://h/0/S3cret", "redis://h:1:2",
     "redis+sentinel://S3cret", "redis+sentinel://h/m/S3cret", "redis+cluster://S3cret/1", "redis+cluster://h,,S3cret",
     "redis://h?password=S3cret"],
)  # fmt: skip
def test_what_is_no_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="Redis") as failure:
        redis_client(url)
    assert "S3cret" not in str(failure.value)
    assert failure.value.__cause__ is None


def test_what_is_no_certificate_is_refused() -> None:
    for pem in ("S3cret", "-----BEGIN CERTIFICATE-----\nS3cret\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ValueError, match="no PEM certificate"):
            redis_client("rediss://h", ca_pem=pem)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (AuthenticationError(), "login"),
        (caused(RedisClusterException(), AuthenticationError()), "login"),
        (caused(RedisClusterException(), ConnectionRefusedError()), "away"),
        (ReadOnlyError(), "read_only"),
        (TimeoutError(), "away"),
        (ResponseError("x"), "refuses"),
    ],
)
def test_what_is_wrong_is_a_word(error: Exception, word: str) -> None:
    assert trouble_of(error) == word
