"""What a pod says of its troubles."""

from structlog.testing import capture_logs

from mailpush.listener.troubles import LOG_SECONDS, TroubleLog


def test_a_trouble_is_logged_when_it_begins_and_ends_and_not_at_each_look() -> None:
    log = TroubleLog("target_degraded", "target_recovered", "target")
    with capture_logs() as logs:
        for now, why in ((0.0, ""), (2.0, "http_401"), (4.0, "http_401"), (6.0, "timeout")):
            log.look({"t": why} if why else {}, now)
        log.look({}, 2.0 + LOG_SECONDS)
        log.look({}, 4.0 + LOG_SECONDS)
    assert [(line["event"], line["target"]) for line in logs] == [("target_degraded", "t"), ("target_recovered", "t")]
