"""A real listener process that is killed while mails wait in it, and the next one on the same journal."""

import signal
from collections.abc import Iterator

import pytest

from tests.sites.listener import ListenerSite
from tests.sites.namespace import Namespace, wait_for

USERS = (3, 4, 5)


@pytest.fixture
def site(namespace: Namespace) -> Iterator[ListenerSite]:
    site = ListenerSite(namespace)
    try:
        yield site
    finally:
        site.close()


def idling(site: ListenerSite) -> str:
    """Pod 0 owns everything and waits in IDLE for each user."""
    site.configure(
        packages={"status": {"open-xchange-push-imapidle": "enabled"}},
        mechanisms={"imapidle": {"supportsPermanentListeners": True, "delay": 100}},
    )
    site.pod(0)
    site.assign(0)
    site.register(*USERS)
    process = site.start(0)
    for user in USERS:
        site.wait_status(user, permanent=True, reason="Idling", mechanism="imapidle")
    return process


@pytest.mark.parametrize("hangs", [True, False], ids=["webhook hangs", "webhook is down"])
def test_mails_that_imapidle_saw_before_a_kill_notify_once_after_it(site: ListenerSite, hangs: bool) -> None:
    process = idling(site)
    site.receiver.behave(hang=hangs, status=503)
    subjects = [f"mail {number} for {user}" for number in range(5) for user in USERS]
    for subject in subjects:
        site.dovecot.deliver(f"u{subject.split()[-1]}", subject=subject)
    wait_for("all are open", lambda: site.metric(0, "mailpush_notifications_open") == len(subjects))
    site.signal(process, signal.SIGKILL)
    site.exit_code(process)

    site.receiver.clear()
    site.receiver.behave()
    site.start(0)
    # The claims of the killed process have to expire: the target's timeout of 5 s, and 10 s.
    site.wait_told(*subjects)
    site.told_in_any_order(*subjects, pods=(0,))
    assert site.metric(0, "mailpush_handover_total") >= len(subjects), "from the journal"
