"""The real Dovecot, the real Redis and the receiver of webhooks, as other tests use them."""

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import redis

from dev.processes.errors import DevError
from dev.services import Dovecot, Redis, WebhookReceiver
from dev.services.releases import VERSIONS, Version

pytestmark = pytest.mark.cluster


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver.start() as receiver:
        yield receiver


@pytest.fixture
def dovecot(receiver: WebhookReceiver) -> Iterator[Dovecot]:
    # A receiver that a busy machine keeps waiting is no reason to call it twice.
    with Dovecot.launch([receiver.url.replace("//", "//name:word@")], patience=30) as dovecot:
        yield dovecot


def test_dovecot_tells_of_a_mail_to_a_registered_user_only(dovecot: Dovecot, receiver: WebhookReceiver) -> None:
    dovecot.set_metadata("anna", "user=3@1")
    dovecot.deliver("berta", "anna", subject="first")
    dovecot.deliver("anna", subject="second")
    calls = receiver.wait_for(2)
    assert [json.loads(call.body)["subject"] for call in calls] == ["first", "second"]
    assert {json.loads(call.body)["user"] for call in calls} == {"3@1"}
    assert calls[0].headers["authorization"] == "Basic bmFtZTp3b3Jk"


def test_a_registration_and_the_mail_survive_a_stop(dovecot: Dovecot) -> None:
    dovecot.set_metadata("anna", "user=3@1")
    dovecot.deliver("anna")
    dovecot.stop()
    with pytest.raises(OSError, match="refused"):
        dovecot.imap("anna")
    dovecot.start()
    assert dovecot.metadata("anna") == "user=3@1"
    with dovecot.imap("anna") as session:
        assert session.select() == ("OK", [b"1"])
    dovecot.set_metadata("anna", None)
    assert dovecot.metadata("anna") is None


def test_the_master_user_may_log_in_as_anybody_and_a_wrong_password_nobody(dovecot: Dovecot) -> None:
    with dovecot.imap("anna", master=True) as session:
        assert session.noop()[0] == "OK"
    dovecot.master_password = "wrong"
    with pytest.raises(Exception, match="AUTHENTICATIONFAILED"):
        dovecot.imap("anna", master=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_changed_password_counts_for_its_logins_alone(version: Version) -> None:
    with Dovecot.launch(version=version) as dovecot:
        dovecot.change_password("left*", "another")
        with dovecot.imap("anna") as session:
            assert session.noop()[0] == "OK"
        with pytest.raises(Exception, match="AUTHENTICATIONFAILED"):
            dovecot.imap("left1")
        dovecot.password = "another"
        with dovecot.imap("left1") as session:
            assert session.noop()[0] == "OK"


def test_its_certificate_is_good_for_its_authority_only(dovecot: Dovecot) -> None:
    import imaplib

    trusting = ssl.create_default_context(cafile=str(dovecot.ca_file))
    with imaplib.IMAP4_SSL(dovecot.host, dovecot.imaps_port, ssl_context=trusting) as session:
        assert session.login("anna", dovecot.password)[0] == "OK"
    with imaplib.IMAP4("localhost", dovecot.imap_port) as session:
        assert session.starttls(trusting)[0] == "OK"
    with pytest.raises(ssl.SSLCertVerificationError):
        imaplib.IMAP4_SSL(dovecot.host, dovecot.imaps_port, ssl_context=ssl.create_default_context())


def test_callbacks_can_be_changed(dovecot: Dovecot, receiver: WebhookReceiver) -> None:
    dovecot.set_metadata("anna", "user=3@1")
    with WebhookReceiver.start() as second:
        dovecot.set_callbacks(second.url, receiver.url)
        dovecot.deliver("anna")
        assert len(second.wait_for(1)) == len(receiver.wait_for(1)) == 1


def test_redis_is_empty_after_a_stop_and_wants_its_password() -> None:
    with Redis.launch(password="word") as server:
        client = redis.Redis.from_url(server.url)
        client.set("key", "value")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(server.host, server.port).ping()
        server.stop()
        with pytest.raises(redis.ConnectionError):
            redis.Redis.from_url(server.url).ping()
        server.start()
        assert redis.Redis.from_url(server.url).get("key") is None


def _post(url: str, body: bytes = b"x", timeout: float = 30) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=timeout) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_receiver_records_and_answers_as_it_is_told(receiver: WebhookReceiver) -> None:
    assert _post(receiver.url, b"one") == 200
    receiver.behave(status=503, retry_after="1")
    assert _post(receiver.url, b"two") == 503
    assert [request.body for request in receiver.received] == [b"one", b"two"]
    receiver.behave(close=True)
    with pytest.raises(OSError, match="closed"):
        _post(receiver.url)


def test_a_request_that_hangs_is_recorded_and_let_go_at_the_end(receiver: WebhookReceiver) -> None:
    receiver.behave(hang=True)
    ended = threading.Event()

    def ask() -> None:
        with pytest.raises(OSError, match="closed"):
            _post(receiver.url, timeout=60)
        ended.set()

    thread = threading.Thread(target=ask)
    thread.start()
    receiver.wait_for(1)
    assert not ended.is_set()
    receiver.close()
    thread.join()
    assert ended.is_set()


def test_waiting_for_what_does_not_come_says_what_came(receiver: WebhookReceiver) -> None:
    _post(receiver.url)
    with pytest.raises(DevError, match="1 requests came"):
        receiver.wait_for(2, timeout=0.01)
