"""Where OX's databases are, as its configdb has it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailpush.credentials.ox.address import Address, from_jdbc, from_url


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("jdbc:mysql://db.example.org", "db.example.org", 3306),
        ("jdbc:mysql://db.example.org:3307/", "db.example.org", 3307),
        ("jdbc:mysql://10.0.0.1:3306/?useUnicode=true&useSSL=false", "10.0.0.1", 3306),
        ("jdbc:mariadb://db/?a=b", "db", 3306),
        ("jdbc:mysql:loadbalance://one:3307,two:3308/", "one", 3307),
        ("jdbc:mysql://[::1]:3308/", "::1", 3308),
        (" JDBC:mysql://db?x=y ", "db", 3306),
    ],
)
def test_a_pool(url: str, host: str, port: int) -> None:
    assert from_jdbc(url, "openexchange", "s3cret") == Address(host, port, "openexchange", "s3cret")


@pytest.mark.parametrize("url", ["", "mysql://db", "jdbc:postgresql://db", "jdbc:mysql://", "jdbc:mysql://:3306/x"])
def test_what_is_no_pool(url: str) -> None:
    with pytest.raises(ValueError, match="a pool's url"):
        from_jdbc(url, "u", "p")


def test_the_configdb() -> None:
    assert from_url("mysql://db:3307/configdb", "u", "p") == Address("db", 3307, "u", "p", "configdb")
    assert from_url("mariadb://db", None, None) == Address("db")
    with pytest.raises(ValueError, match="the address of the configdb") as error:
        from_url("postgres://u:s3cret@db/x", None, None)
    assert "s3cret" not in str(error.value)


@given(st.text(max_size=80) | st.text(max_size=40).map(lambda rest: f"jdbc:mysql://{rest}"))
def test_any_text_is_an_address_or_a_value_error(url: str) -> None:
    try:
        assert from_jdbc(url, "u", "p").host
    except ValueError:
        pass


def test_no_repr_shows_a_password() -> None:
    assert "s3cret" not in repr(from_jdbc("jdbc:mysql://db", "u", "s3cret"))
