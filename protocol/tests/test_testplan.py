"""Every claim of the threat model has a test that exists, and the test plan has no other claims."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scripts import campaign

ROOT = Path(__file__).resolve().parents[2]
PLAN = ROOT / "docs" / "testplan.toml"
MODEL = ROOT / "docs" / "threat-model.md"
CLAIM = re.compile(r"`claim ([a-z0-9-]+)`")
NEEDED = ("amaranth", "numpy", "cocotb", "hypothesis", "sqlalchemy")
"""Without them some test files are not collected."""


def claims() -> dict[str, dict[str, object]]:
    return tomllib.loads(PLAN.read_text(encoding="utf-8"))["claim"]


def uncollected(ids: list[str]) -> str:
    """What pytest says of node ids that it does not find; nothing if it finds all."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *ids]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_every_claim_has_a_test_and_says_what_it_is() -> None:
    for name, claim in claims().items():
        assert set(claim) <= {"text", "tests", "campaigns"}, name
        assert claim["text"], name
        assert claim["tests"], f"the claim {name} has no test"


def test_the_threat_model_makes_these_claims() -> None:
    made = set(CLAIM.findall(MODEL.read_text(encoding="utf-8")))
    assert made - set(claims()) == set(), "claims of the threat model that the test plan does not have"
    assert set(claims()) - made == set(), "claims of the test plan that the threat model does not make"


def test_named_tests_exist() -> None:
    for module in NEEDED:
        pytest.importorskip(module)
    assert not uncollected(sorted({test for claim in claims().values() for test in claim["tests"]}))


def test_a_test_that_does_not_exist_is_noticed() -> None:
    assert "not found" in uncollected([f"{Path(__file__).relative_to(ROOT)}::test_nowhere"])


def test_named_campaigns_exist() -> None:
    there = {row.name for row in campaign.CAMPAIGNS}
    for name, claim in claims().items():
        assert set(claim.get("campaigns", [])) <= there, name
