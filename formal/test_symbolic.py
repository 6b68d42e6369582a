"""The symbolic models speak of the protocol's own messages; with ProVerif installed, they get the right verdicts."""

import shutil
from dataclasses import replace

import pytest
from ringpair_protocol import binding
from ringpair_protocol import derivations as kdf
from ringpair_protocol import messages as msg

from formal.symbolic import models, recorded
from formal.symbolic.__main__ import MISSING, main, run, verdicts, wrong
from formal.symbolic.grammar import Mistake, check
from formal.symbolic.models import CONTROLS, MODELS


@pytest.mark.parametrize(("header", "fields"), (models.FIELDS | recorded.FIELDS).items())
def test_messages_have_their_length(header, fields):
    assert 1 + sum(length for _, length in fields) == msg.LENGTHS[header]


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


def test_what_the_controller_puts_together():
    """Terms of a run of the reference model; those of the device are the same, or no test of bindings would pass."""
    seen = recorded.record()
    assert seen["b1"] == ("service_id", "nonce", "share_c")
    assert seen["b3"] == ("tag_c", "sealed_1")
    assert seen["s1"] == ("hint", "share_c")
    assert seen["generator"] == ("cpace", "pin", "bind", "device_id", "service_id", "service_id", "nonce")
    assert seen["statement_b4"][-2:] == ("device_key", "service_key")
    assert seen["statement_s3"] == ("sts_c", "share_d", "share_c", "service_key", "device_key")
    assert set(seen["b1"]) == {name for name, _ in recorded.FIELDS[msg.B1]}
    text = MODELS["sts"].text()
    assert text.count("(sts_d, share_c, share_d, device_key, service_key)") == 2
    assert "in(c, (=header_s2, share_d: point, sealed: bitstring));" in text
    assert "  out(c, (header_s1, hint_of((service_id, share_c)), share_c));" in text


def statement_without_service(run, device_key, service_key):
    return binding.BIND_D + run.sid + run.share_c + run.share_d + device_key


@pytest.mark.parametrize(
    ("owner", "name", "value", "gone", "come"),
    [
        (
            binding.Binding,
            "statement_d",
            statement_without_service,
            "(bind_d, service_id, nonce, share_c, share_d, device_key, service_key)",
            "share_d, device_key)",
        ),
        (binding, "CI_LABEL", binding.BIND_C, "pin, bind, device_id", "pin, bind_c, device_id"),
        (
            binding,
            "CONTROLLER_SESSION",
            replace(kdf.CONTROLLER_SESSION, inputs=kdf.CONTROLLER_SESSION.inputs[::-1]),
            "session((common, share_c, share_d))",
            "session((share_d, share_c, common))",
        ),
        (kdf, "SERVICE_ID", replace(kdf.SERVICE_ID, label=b"P1-name"), "P1-svid", "P1-name"),
    ],
)
def test_a_change_of_the_reference_model_changes_the_models(owner, name, value, gone, come, monkeypatch):
    def text():
        return MODELS["bind"].text() + MODELS["sts"].text()

    assert gone in text()
    monkeypatch.setattr(owner, name, value)
    assert gone not in text()
    assert come in text()


def test_a_value_without_a_name_is_noticed():
    for data in (b"P1-what", b"\x01", recorded.mark("common")[1:]):
        with pytest.raises(AssertionError, match=r"label|no mark|part of common"):
            recorded.terms(recorded.mark("pin") + data)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_whole(name):
    """Every name is declared, every term has its type, one query for each verdict."""
    model = MODELS[name]
    assert (check(model.text()).queries or 1) == len(model.queries)
    assert set(model.expected) <= set(model.queries)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("new nonce: bitstring;", "", "nonce is not declared"),
        ("let common =", "let secret =", "expected a name"),
        ("out(c, (public", "out(d, (public", "expected a channel"),
        ("fun name_of", "fun name-of", "unknown characters"),
        ("isk_of((cpace_isk,", "isk_of(cpace_isk, (", "isk_of takes"),
        ("share_c: point", "share_c: bitstring", "both takes"),
        ("share_c: point", "share_c: curve", "no type curve"),
        ("ControllerConfirms(isk)", "ControllerConfirms(isk, nonce)", "ControllerConfirms takes"),
        ("(!Device())", "(!Devices())", "no process Devices"),
        ("attacker(k) ==> false.", "attacker(k) ==> false", "expected '.'"),
        ("phase 1; out(c, pin) )", "phase 1; out(c, pin)", "expected '\\)'"),
        ("if tag = ", "if isk = ", "a comparison of two types"),
        ("free device_id", "free pin", "pin is declared twice"),
    ],
)
def test_a_slip_of_the_pen_is_noticed(old, new, what):
    text = MODELS["bind"].text()
    assert old in text
    with pytest.raises(Mistake, match=what):
        check(text.replace(old, new, 1))


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
