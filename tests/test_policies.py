"""Which of a right-click and typing works under which execution policies, and when the user's own policy would help."""

import pytest

from lorabake import offers, policies

NOBODY = {"machine group": "", "user group": "", "user": "", "machine": ""}


@pytest.mark.parametrize(
    ("values", "right_click", "typed", "offer"),
    [
        ({}, True, False, True),  # a new PC
        (NOBODY, True, False, True),
        ({"user": "Undefined"}, True, False, True),
        ({"machine": "RemoteSigned"}, True, True, False),
        ({"user": "RemoteSigned", "machine": "AllSigned"}, True, True, False),
        ({"machine": "AllSigned"}, False, False, True),
        ({"user": "Restricted", "machine": "Unrestricted"}, True, False, True),
        ({"machine": "Bypass"}, True, True, False),
        ({"machine group": "AllSigned", "user": "Bypass"}, False, False, False),
        ({"user group": "Restricted", "machine": "Bypass"}, False, False, False),
        ({"machine group": "RemoteSigned", "user": "Restricted"}, True, True, False),
    ],
)
def test_what_works(values, right_click, typed, offer):
    verdict = policies.judge(values)
    assert (verdict.right_click, verdict.typed, verdict.offer) == (right_click, typed, offer)


@pytest.mark.parametrize(
    ("enabled", "policy", "meant"), [(None, "", ""), (0, "AllSigned", "Restricted"), (1, "AllSigned", "AllSigned"), (1, "", "")]
)
def test_the_two_values_of_a_group_policy(enabled, policy, meant):
    assert policies.of_group(enabled, policy) == meant


def test_sentences():
    said = policies.sentence(policies.judge({}))
    assert said == "PowerShell's execution policy is Restricted (as Windows sets it): a right-click works, typing .\\train.ps1 does not"
    blocked = policies.sentence(policies.judge({"machine group": "AllSigned"}))
    assert "by group policy" in blocked and "setup.bat -Shortcuts" in blocked
    assert policies.sentence(policies.judge({"user": "Bypass"})) == ""


def test_elsewhere_there_is_nothing_to_change():
    assert policies.read() == {} and policies.undo() is None
    assert "nothing to do" in offers.allow_scripts() and "nothing to undo" in offers.undo_allow_scripts()
