"""The services that tests use without pods: a real Dovecot, Redis and MariaDB, and a receiver of webhooks."""

from dev.services.dovecot import Dovecot
from dev.services.mariadb import MariaDB
from dev.services.redis import Redis
from dev.services.sentinel import Sentinel
from dev.services.webhook import Received, WebhookReceiver

__all__ = ["Dovecot", "MariaDB", "Received", "Redis", "Sentinel", "WebhookReceiver"]
