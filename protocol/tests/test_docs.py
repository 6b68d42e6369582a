"""The documents and the code say the same; what a document points to is there."""

import re
from pathlib import Path

import pytest

from scripts import doc_tables

ROOT = doc_tables.ROOT
PAGES = sorted({ROOT / name for name in doc_tables.DOCUMENTS} | set((ROOT / "docs").glob("*.md")))
AMARANTH = ("secrets", "instructions", "code-memory", "example", "program-proofs", "loops", "cuts")
NEEDS = {"silicon": "numpy", **dict.fromkeys(AMARANTH, "amaranth")}
NEEDS |= dict.fromkeys(("boards", "board-notes", "board-flash", "ring-frequencies"), "amaranth_boards")
PRINTED_ONLY = {"program"}
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
TEST = re.compile(r"`((?:[a-z_]+/)+test_\w+\.py)(?:::(\w+))?`")
REFUSAL = re.compile(r"(?:refused [A-Z_]+|no session with peer \d+) \(([A-Z_]+)\): ([^`\n]+)")
COMMAND = re.compile(r"python (scripts/\w+\.py)")

tables = [
    pytest.param(page, name, id=f"{page.relative_to(ROOT)}-{name}")
    for page in (ROOT / name for name in doc_tables.DOCUMENTS)
    for name in doc_tables.tables_in(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("page", "name"), tables)
def test_a_table_is_what_the_code_says(page: Path, name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    there = doc_tables.tables_in(page.read_text(encoding="utf-8"))[name]
    assert there == doc_tables.TABLES[name](), f"{page.name}: run python scripts/doc_tables.py"


def test_every_table_is_shown() -> None:
    shown = {parameter.values[1] for parameter in tables}
    assert shown == set(doc_tables.TABLES) - PRINTED_ONLY


def test_tables_are_found_and_replaced() -> None:
    text = "before\n<!-- table: plain-record -->\nold\n<!-- end of table -->\nafter\n"
    new = doc_tables.updated(text)
    assert doc_tables.tables_in(text) == {"plain-record": "old\n"}
    assert doc_tables.tables_in(new)["plain-record"].splitlines()[-1] == "|  | **107** | in all |"
    assert new.startswith("before\n")
    assert new.endswith("after\n")
    assert doc_tables.updated(new) == new


def test_an_unknown_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        doc_tables.updated("<!-- table: nonsense -->\n<!-- end of table -->")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_points_to_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = {target for target, _ in LINK.findall(text) if "://" not in target}
    missing = {target for target in links if not (page.parent / target).exists()}
    missing |= {script for script in COMMAND.findall(text) if not (ROOT / script).exists()}
    for file, test in TEST.findall(text):
        path = ROOT / file
        if not path.exists() or (test and not re.search(rf"^def {test}\b", path.read_text(encoding="utf-8"), re.M)):
            missing.add(f"{file}::{test}")
    assert not missing, f"{page.name} points to what is not there: {sorted(missing)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_quoted_refusals_are_what_the_code_says(page: Path) -> None:
    codes = doc_tables.admin.Code
    for name, text in REFUSAL.findall(page.read_text(encoding="utf-8")):
        assert name in codes.__members__, f"{page.name} quotes {name}: there is no such code"
        assert text == doc_tables.admin.EXPLANATION[codes[name]], f"{page.name} quotes another text of {name}"
