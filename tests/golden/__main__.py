"""`python -m tests.golden` writes the golden files anew. Look at the difference before you commit it."""

from tests.golden.cases import CASES

for case in CASES:
    case.update()
