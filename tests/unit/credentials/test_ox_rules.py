"""Which form a schema's table takes: every case."""

from itertools import product

import pytest

from mailpush.credentials.ox.rules import Form, Refusal, SchemaRefusedError, TableFacts, Task, refusal_of, sentence

EVERY = [
    TableFacts(width, task, updating, legacy, argon, monitored)
    for width, task, updating, legacy, argon, monitored in product(
        (None, 64, 512), Task, (False, True), (False, True), (False, True), (False, True)
    )
]


@pytest.mark.parametrize("facts", EVERY)
def test_a_form_is_taken_only_where_no_other_ox_reads_the_table(facts: TableFacts) -> None:
    usable = facts.width is not None and facts.monitored and not facts.updating and facts.task is not Task.FAILED
    argon = usable and facts.width == 512 and facts.task is Task.DONE and not facts.legacy
    legacy = usable and facts.task is Task.NOT_RUN and not facts.argon
    assert (refusal_of(Form.ARGON, facts) is None) is argon
    assert (refusal_of(Form.LEGACY, facts) is None) is legacy
    assert not (argon and legacy)


def test_mixed_rows_are_called_so_for_either_form() -> None:
    for task in (Task.NOT_RUN, Task.DONE):
        facts = TableFacts(512, task, legacy=True, argon=True)
        assert {refusal_of(form, facts) for form in Form} == {Refusal.MIXED}


@pytest.mark.parametrize("refusal", list(Refusal))
def test_each_refusal_says_where_and_what_to_do(refusal: Refusal) -> None:
    error = SchemaRefusedError(refusal, "oxdatabase_5", width=64, context=7)
    assert error.reason == refusal.value
    text = str(error)
    assert "{" not in text
    assert ": " in text
    assert ("schema oxdatabase_5" in text) is (refusal not in {Refusal.UNPROVEN, Refusal.OTHER_READING})
    assert "None" not in sentence(refusal, "oxdatabase_5")
