"""`memory` and `rdb`: what each store keeps when pods are lost, and what becomes of users whose password is gone."""

from tests.credentials.site import CredentialSite, Stage, listening

USERS = tuple(range(3, 15))


def memory(stage: Stage) -> None:
    with stage.site("memory") as site:
        lost_pods(stage, site)
        place = site.log_end()
        site.redis.stop()
        site.redis.start()  # empty
        site.replace(*site.pods)
        site.wait_reason("CredentialsMissing", *USERS)
        stage.verdict.step("after a flush of Redis all say CredentialsMissing", True)
        tried = [*site.logins(place), *site.refused(place)]
        stage.verdict.step("nobody is tried at Dovecot without a password", not tried, f"{len(tried)} logins")
        put(stage, site, "after the flush")


def rdb(stage: Stage) -> None:
    with stage.site("rdb") as site:
        lost_pods(stage, site)
        assert site.database is not None
        site.redis.stop()
        site.redis.start()
        site.database.stop()
        site.database.start()
        restart_all(site)
        stage.verdict.step("all are listened for after a flush of Redis and a restart of MariaDB", True)
        stage.told(site, "after both servers restarted", USERS)


def lost_pods(stage: Stage, site: CredentialSite) -> None:
    """Up to three pods that listen, then all but one lost, then all of them."""
    verdict = stage.verdict
    site.install()
    site.start_pods()
    site.register(*USERS)
    site.wait_reason("CredentialsMissing", *USERS)
    verdict.step("without a password all say CredentialsMissing", True)
    verdict.step("nobody is tried at Dovecot", not site.logins() and not site.refused())
    put(stage, site, "once the passwords were put")
    others = sorted(site.pods)[1:]
    site.replace(*others)
    site.wait_listening(*USERS)
    verdict.step(f"all are listened for after {len(others)} of {len(site.pods)} pods were killed", True)
    stage.told(site, f"after {len(others)} pods were killed", USERS)
    restart_all(site)
    verdict.step("all are listened for after all pods were killed", True)
    stage.told(site, "after all pods were killed", USERS)
    verdict.step("no login was refused", not site.refused(), f"{len(site.refused())} refused")


def restart_all(site: CredentialSite) -> None:
    """All pods are lost at once. What a status says is of before until the new pods have logged in."""
    place = site.log_end()
    site.replace(*sorted(site.pods))
    site.wait_for("all log in anew", lambda: len({login for _, login in site.logins(place)}) == len(USERS))
    site.wait_listening(*USERS)


def put(stage: Stage, site: CredentialSite, what: str) -> None:
    site.put(*USERS)
    site.wait_for("all are listened for", lambda: listening(site.users(), USERS))
    sources = {status.get("credentials", {}).get("source") for status in site.users().values()}
    stage.verdict.step(f"{what}: all are listened for, by the storage", sources == {"storage"}, sources)
    stage.told(site, what, USERS)
