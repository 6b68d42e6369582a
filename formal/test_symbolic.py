"""The symbolic models speak of the protocol's own messages; with ProVerif installed, they get the right verdicts."""

import re
import shutil
from dataclasses import replace

import pytest
from ringpair_protocol import derivations as kdf
from ringpair_protocol import messages as msg

from formal.symbolic import models
from formal.symbolic.__main__ import MISSING, main, run, verdicts, wrong
from formal.symbolic.models import CONTROLS, FIELDS, MODELS

WORDS = {
    *("free", "channel", "type", "const", "fun", "event", "let", "in", "out", "new", "if", "then", "phase", "process"),
    *("query", "attacker", "inj-event", "private", "reduc", "forall", "data", "typeConverter", "choice", "false"),
    *("key", "id", "dir", "bitstring", "c"),
}


@pytest.mark.parametrize("header", FIELDS)
def test_messages_have_their_length(header):
    assert 1 + sum(length for _, length in FIELDS[header]) == msg.LENGTHS[header]


def test_tags_are_of_what_the_device_hashes():
    """The text that the tables give, once written out."""
    text = MODELS["handshake"].text()
    assert "let tag_1 = auth(auth_key(ck), (header_m1, direction, nonce_i)) in" in text
    assert "if tag = auth(auth_key(chain_next(ck)), (header_resync, direction, nonce_i)) then" in text
    assert text.count("let transcript = (header_m1, header_m2, direction, nonce_i, tag_1, nonce_r) in") == 2
    assert "out(c, (header_m2, nonce_r, tag_2(session_root(ck), transcript)));" in text


def test_a_change_of_a_derivation_changes_the_models(monkeypatch):
    shorter = replace(kdf.SESSION, inputs=kdf.SESSION.inputs[:-1])
    monkeypatch.setattr(models.kdf, "SESSION", shorter)
    assert "let transcript = (header_m1, header_m2, direction, nonce_i, tag_1) in" in MODELS["handshake"].text()


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_whole(name):
    """Parentheses close, every name is declared, one query for each verdict."""
    model = MODELS[name]
    text = re.sub(r"\(\*.*?\*\)", " ", model.text(), flags=re.DOTALL)
    for opening, closing in ("()", "[]"):
        assert text.count(opening) == text.count(closing)
    used = set(re.findall(r"(?<![\w-])[a-zA-Z][\w-]*", text))
    declared = set(re.findall(r"([a-zA-Z]\w*)\s*(?::|\(.*\)\s*:|\(.*\)\s*=|=)", text))
    declared |= set(re.findall(r"(?:fun|event|type|let|new|reduc|forall) (\w+)", text))
    declared |= {n for row in re.findall(r"let \w+\((.*)\) =", text) for n in re.findall(r"(\w+):", row)}
    declared |= {n for row in re.findall(r"(?:free|const) ([\w, ]+):", text) for n in row.split(", ")}
    assert not used - declared - WORDS
    queries = len(re.findall(r"^query ", text, re.MULTILINE)) or 1
    assert queries == len(model.queries)
    assert set(model.expected) <= set(model.queries)


def test_controls_must_fail():
    for name, model in MODELS.items():
        attacks = [query for query, right in model.expected.items() if not right and not query.endswith("_at_all")]
        assert bool(attacks) == (name in CONTROLS)


def test_verdicts_are_read_and_compared():
    said = (
        "RESULT not attacker(s[]) is true.\nRESULT inj-event(a) ==>\ninj-event(b) is false.\n"
        "RESULT event(x) cannot be proved."
    )
    assert verdicts(said) == [True, False, None]
    model = replace(MODELS["pairing"], queries=("a", "b", "c"), expected={"a": True, "b": True, "c": False})
    assert wrong(model, verdicts(said)) == ["b: expected True, got False", "c: expected False, got None"]
    assert wrong(model, [True]) == ["expected 3 verdicts, got 1"]


def test_without_proverif_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert main([]) == 2
    assert MISSING in capsys.readouterr().err
    assert main(["--show", "unlinkable"]) == 0
    assert "let Starts(" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("proverif") is None, reason="ProVerif is not installed")
@pytest.mark.parametrize("name", MODELS)
def test_verdicts(name):
    assert not wrong(MODELS[name], verdicts(run(MODELS[name], shutil.which("proverif"))))
