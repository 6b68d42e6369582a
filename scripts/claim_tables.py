"""Tables of the threat model; `doc_tables.py` puts them there.

Claims come from ``docs/testplan.toml``, results of the long campaigns from ``docs/campaigns.json``, which
`campaign.py --json` writes.
"""

import json
import tomllib
from pathlib import Path

from board_tables import table
from campaign import CAMPAIGNS

ROOT = Path(__file__).resolve().parent.parent
PLAN = ROOT / "docs" / "testplan.toml"
RESULTS = ROOT / "docs" / "campaigns.json"


def claim_table() -> str:
    """What is claimed, and what shows it."""
    claims = tomllib.loads(PLAN.read_text(encoding="utf-8"))["claim"]

    def shown(claim: dict) -> str:
        files: dict[str, list[str]] = {}
        for test in claim["tests"]:
            file, _, name = test.partition("::")
            files.setdefault(file, []).append(name)
        tests = [f"`{file}`" + (f" ({len(names)})" if len(names) > 1 else "") for file, names in files.items()]
        return ", ".join([*tests, *(f"campaign `{name}`" for name in claim.get("campaigns", ()))])

    return table(("claim", "what", "shown by"), [(f"`{name}`", c["text"], shown(c)) for name, c in claims.items()])


def campaign_table() -> str:
    """What the recorded runs tried and lost."""
    results, units = json.loads(RESULTS.read_text(encoding="utf-8")), {c.name: c.unit for c in CAMPAIGNS}

    def row(name: str) -> tuple[str, ...]:
        result = results[name]
        tried = f"{result['tried']:,}".replace(",", " ")
        scale = "" if result["scale"] == 1 else f" --scale {result['scale']:g}"
        command = f'`make campaign CAMPAIGN="--only {name} --seed {result["seed"]}{scale}"`'
        return f"{tried} {units[name]}", str(len(result["lost"]) or "nothing"), command

    return table(("tried", "lost", "run by"), [row(c.name) for c in CAMPAIGNS if c.name in results])


TABLES = {"claims": claim_table, "campaigns": campaign_table}
