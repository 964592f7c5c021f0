"""The stores and token endpoints of a MailPushConfig as properties: written, and read back."""

import re
from typing import Final, Literal

from mailpush.api.credentialstorage import CredentialStorage, Database
from mailpush.api.mailaccess import MailAccess
from mailpush.api.mailpushconfig import MailPushConfigSpec, Redis
from mailpush.api.oauth import OAuth
from mailpush.properties import keys
from mailpush.properties.lookup import Lookup
from mailpush.properties.settings import (
    DatabaseSettings,
    OAuthSettings,
    OxCredentialSettings,
    RedisSettings,
    TokenEndpointSettings,
)
from mailpush.properties.values import boolean

Properties = dict[str, str]

_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[^/,:?#\[\]\s]+)(?::[0-9]{1,5})?"
_REDIS_URL: Final = re.compile(
    r"rediss?(?:"
    rf"://{_HOST}(?:/[0-9]*)?|\+cluster://{_HOST}(?:,{_HOST})*/?|\+sentinel://{_HOST}(?:,{_HOST})*/[^/?#\s]+(?:/[0-9]*)?)"
)
REDIS_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
DATABASE_SCHEMES = ("mysql", "mariadb", "sqlite")
MECHANISMS = ("auto", "XOAUTH2", "OAUTHBEARER")


def write_stores(spec: MailPushConfigSpec) -> Properties:
    """The properties that are no secrets."""
    properties = _redis(spec.redis) if spec.redis else {}
    properties |= _storage(spec.credential_storage)
    if spec.mail_access:
        properties |= _oauth(spec.mail_access)
    return properties


def _redis(redis: Redis) -> Properties:
    properties = {keys.REDIS_URL: redis.url}
    return properties | ({keys.REDIS_USERNAME: redis.username} if redis.username else {})


def _storage(storage: CredentialStorage) -> Properties:
    properties = _database(keys.DATABASE, storage.database)
    if storage.ox.credentials != "none":
        properties[keys.OX_CREDENTIALS] = storage.ox.credentials
        properties |= _database(keys.CONFIGDB, storage.ox.database)
    if storage.ox.form:
        properties[keys.OX_FORM] = storage.ox.form
    return properties


def _database(key: str, database: Database | None) -> Properties:
    if database is None:
        return {}
    properties = {
        keys.database_key(key, "url"): database.url,
        keys.database_key(key, "tls"): database.tls,
        keys.database_key(key, "poolSize"): str(database.pool_size),
        keys.database_key(key, "timeout"): str(database.timeout_milliseconds),
    }
    if database.username:
        properties[keys.database_key(key, "username")] = database.username
    return properties


def _oauth(access: MailAccess) -> Properties:
    oauth: OAuth = access.oauth
    if not oauth.enabled:
        return {}
    properties = {keys.OAUTH: boolean(True), keys.OAUTH_MECHANISM: oauth.mechanism}
    endpoint = oauth.token_endpoint
    if endpoint is not None:
        properties |= {
            keys.endpoint_key("url"): endpoint.url,
            keys.endpoint_key("clientId"): endpoint.client_id,
            keys.endpoint_key("clientAuthentication"): endpoint.client_authentication,
            **({keys.endpoint_key("scope"): endpoint.scope} if endpoint.scope else {}),
            **({keys.endpoint_key("audience"): endpoint.audience} if endpoint.audience else {}),
        }
    return properties


def read_redis(lookup: Lookup) -> RedisSettings | None:
    """None where there is none."""
    url = lookup.url(keys.REDIS_URL, REDIS_SCHEMES)
    if not url:
        return None
    if "@" not in url and not _REDIS_URL.fullmatch(url):
        lookup.problem(
            f"{keys.BOOT_FILE}: {keys.REDIS_URL} is no URL of a Redis; allowed is redis://host:6379/0, "
            "redis+cluster://host:6379, and redis+sentinel://host:26379,host:26379/NAME/0; rediss in place of redis "
            "for TLS"
        )
    return RedisSettings(
        url,
        password=lookup.secret(keys.REDIS_PASSWORD) or None,
        username=lookup.as_given(keys.REDIS_USERNAME) or None,
        ca_pem=lookup.certificates(keys.REDIS_CA),
    )


def read_database(lookup: Lookup, key: str = keys.DATABASE) -> DatabaseSettings | None:
    """None where there is none. `key`: DATABASE or CONFIGDB."""
    url = lookup.url(keys.database_key(key, "url"), DATABASE_SCHEMES)
    if not url:
        return None
    return DatabaseSettings(
        url=url,
        username=lookup.as_given(keys.database_key(key, "username")) or None,
        password=lookup.secret(keys.database_key(key, "password")) or None,
        tls=lookup.choice(keys.database_key(key, "tls"), "none", ("none", "verify")),
        ca_pem=lookup.certificates(keys.database_key(key, "ca")),
        pool_size=lookup.integer(keys.database_key(key, "poolSize"), 4, 1, 32),
        timeout_ms=lookup.integer(keys.database_key(key, "timeout"), 2000, 100, 60000),
    )


def read_ox(lookup: Lookup) -> OxCredentialSettings | None:
    """None where OX's own table is not used."""
    credentials = lookup.choice(keys.OX_CREDENTIALS, "none", ("none", "read", "readWrite"))
    configdb = read_database(lookup, keys.CONFIGDB)
    if credentials == "none":
        return None
    if configdb is None:
        lookup.required(keys.database_key(keys.CONFIGDB, "url"))
        return None
    form = lookup.choice(keys.OX_FORM, "", ("legacy", "argon"))
    if credentials == "readWrite" and not form:
        lookup.problem(
            f"{keys.file_of(keys.OX_FORM)}: {keys.OX_CREDENTIALS} is readWrite, so {keys.OX_FORM} is needed: "
            "legacy for an OX before 8.16, argon for later ones"
        )
    return OxCredentialSettings(credentials=credentials, form=form or None, configdb=configdb)


def _authentication(lookup: Lookup) -> Literal["basic", "post"]:
    word = lookup.choice(keys.endpoint_key("clientAuthentication"), "basic", ("basic", "post"))
    return "post" if word == "post" else "basic"


def read_oauth(lookup: Lookup) -> OAuthSettings | None:
    """None where access tokens are not used."""
    if not lookup.boolean(keys.OAUTH, False):
        return None
    url = lookup.url(keys.endpoint_key("url"), ("http", "https"))
    endpoint = None
    if url:
        endpoint = TokenEndpointSettings(
            url=url,
            client_id=lookup.required(keys.endpoint_key("clientId")),
            client_secret=lookup.secret(keys.endpoint_key("clientSecret")) or "",
            authentication=_authentication(lookup),
            scope=lookup.as_given(keys.endpoint_key("scope")) or None,
            audience=lookup.as_given(keys.endpoint_key("audience")) or None,
            ca_pem=lookup.certificates(keys.endpoint_key("ca")),
        )
    return OAuthSettings(
        mechanism=lookup.choice(keys.OAUTH_MECHANISM, "auto", MECHANISMS),
        token=lookup.secret(keys.OAUTH_TOKEN) or None,
        endpoint=endpoint,
    )
