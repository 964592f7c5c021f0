"""The decision: whether a permanent listener is to run for a user, and what keeps a MailPushConfig from working."""

from mailpush.decision.chain import (
    ACCEPTED,
    CHECKS,
    NOT_REACHED,
    PASSED,
    REFUSED,
    Decision,
    Row,
    decide,
    name_of,
    question_of,
    site_refusals,
)
from mailpush.decision.checks import DUPLICATE_LOGIN, POD_EXCLUDED, REASONS
from mailpush.decision.facts import (
    Placement,
    SecretFacts,
    SiteFacts,
    StoredFacts,
    TokenFacts,
    UserFacts,
    site_facts,
    user_facts,
)
from mailpush.decision.logins import login_of
from mailpush.decision.mechanisms import may_use_doveadm, needs_no_password
from mailpush.decision.problems import Problem, config_problems
from mailpush.decision.refusal import Refusal
from mailpush.decision.warnings import config_warnings

__all__ = [
    "ACCEPTED",
    "CHECKS",
    "DUPLICATE_LOGIN",
    "NOT_REACHED",
    "PASSED",
    "POD_EXCLUDED",
    "REASONS",
    "REFUSED",
    "Decision",
    "Placement",
    "Problem",
    "Refusal",
    "Row",
    "SecretFacts",
    "SiteFacts",
    "StoredFacts",
    "TokenFacts",
    "UserFacts",
    "config_problems",
    "config_warnings",
    "decide",
    "login_of",
    "may_use_doveadm",
    "name_of",
    "needs_no_password",
    "question_of",
    "site_facts",
    "site_refusals",
    "user_facts",
]
