"""URLs of stores as they are read back."""

import pytest

from mailpush.properties import keys
from mailpush.properties.lookup import Lookup, SettingsError
from mailpush.properties.settings import OxCredentialSettings
from mailpush.properties.stores import read_ox, read_redis
from mailpush.store.redis import RedisAddress


def read(url: str) -> None:
    lookup = Lookup({keys.BOOT_FILE: f"{keys.REDIS_URL} = {url}\n"})
    read_redis(lookup)
    lookup.raise_problems()


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis",
        "redis://redis:6379",
        "redis://redis:6379/",
        "rediss://[2001:db8::1]:6380/1",
        "redis+cluster://a:6379,b:6379",
        "redis+sentinel://a:26379,b/master",
        "redis+sentinel://a/master/3",
        "rediss+sentinel://a:26379,[fe80::1]:1/master/3",
        "rediss+cluster://a:6379,b",
    ],
)
def test_what_is_taken_leads_to_a_redis(url: str) -> None:
    read(url)
    assert RedisAddress.parse(url).nodes


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://redis/name",
        "redis://a,b",
        "redis+sentinel://a:26379",
        "redis+sentinel://a:26379/master/x",
        "redis+cluster://a/0",
        "redis://redis?db=1",
        "redis://redis:port/0",
        "redis://redis:/0",
        "redis+cluster://a:b,c",
        "rediss+sentinel://a:26379",
        "http://redis",
    ],
)
def test_what_leads_to_none_is_said_before_a_pod_starts_by_it(url: str) -> None:
    with pytest.raises(SettingsError, match=keys.REDIS_URL):
        read(url)


CONFIGDB = "mailpush.credstorage.ox.database.url=mysql://db/configdb\n"


def test_ox_table_is_written_in_a_form_that_somebody_has_chosen() -> None:
    def ox(lines: str) -> OxCredentialSettings | None:
        lookup = Lookup({"a.properties": f"{CONFIGDB}{keys.OX_CREDENTIALS}=readWrite\n{lines}"})
        settings = read_ox(lookup)
        lookup.raise_problems()
        return settings

    with pytest.raises(SettingsError, match=f"{keys.OX_CREDENTIALS} is readWrite, so {keys.OX_FORM} is needed: legacy"):
        ox("")
    with pytest.raises(SettingsError, match="allowed is legacy or argon"):
        ox(f"{keys.OX_FORM}=newest\n")
    settings = ox(f"{keys.OX_FORM}=argon\n")
    assert settings is not None
    assert (settings.credentials, settings.form) == ("readWrite", "argon")
