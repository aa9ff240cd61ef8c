"""``ralr-viz dose``: what it parses and refuses; the work is the workflow's and tested there."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["1"], "`--dose 1` must be a number and runs"),
        (["a=runs"], "`--dose a=runs` must be a number and runs"),
        (["nan=runs"], "must be a number and runs"),
        (["1=a", "1.0=b"], "1 has runs already"),
        (["1=a", "2=b"], "2 doses were given"),
        (["1=missing", "2=missing", "3=missing"], "missing"),
    ],
)
def test_dose_says_in_one_line_what_is_wrong(cli, tmp_path, given, message):
    doses = [word for dose in given for word in ("--dose", dose)]
    outcome = cli("dose", "collapse", *doses, "--out", tmp_path)
    assert outcome.code != 0 and outcome.err.count("\n") == 1
    assert message in outcome.err


def test_dose_does_not_know_a_diagnostic(cli, tmp_path):
    outcome = cli("dose", "colapse", "--dose", "1=a", "--out", tmp_path)
    assert outcome.code != 0 and "did you mean `collapse`" in outcome.err
