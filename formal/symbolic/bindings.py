"""The symbolic models of bindings and of controllers' sessions, with the verdicts that they must get.

All tuples come from a run of the reference model's controller (`recorded`): what is sent, hashed, signed and sealed.
"""

from collections.abc import Iterable, Mapping
from functools import partial

from ringpair_protocol import derivations as kdf
from ringpair_protocol import messages as msg

from .model import Model, group
from .recorded import FIELDS, LABELS, NAME, record

BINDING = (
    *("device_key_genuine", "service_key_genuine", "agreement_controller", "agreement_device"),
    *("controller_after_device", "device_after_controller", "secret_key"),
    *("device_binds_at_all", "controller_binds_at_all"),
)
"""The queries of bind.pv in their order."""
SESSION = ("secret_controller", "secret_device", "agreement_controller", "agreement_device", "opens_at_all")
"""Those of sts.pv."""
POINTS = ("share_c", "share_d")


def recorded(without: Mapping[str, str] | None = None, **places: str) -> dict[str, str]:
    """The places of the models.

    Parameters
    ----------
    without
        What a control leaves out: the name of a value that is hashed or signed, and an input of it.
    places
        What a control puts elsewhere.
    """
    seen = dict(record())
    for value, left_out in (without or {}).items():
        seen[value] = tuple(name for name in seen[value] if name != left_out)
    values = {
        "headers": ", ".join(f"header_{name}" for name in NAME.values()),
        "labels": ", ".join(LABELS.values()),
        "service_label": kdf.SERVICE_ID.label.decode(),
        "hint_label": kdf.HINT.label.decode(),
        "generator": group(*seen["generator"]),
        "isk": group(*seen["isk"]),
        "session": group(*seen["key_cd"]),
        "tag_c": f"mac(mac_key({group(*seen['mac_key'])}), {group(*seen['tag_c'])})",
        "tag_d": f"mac(mac_key({group(*seen['mac_key'])}), {group(*seen['tag_d'])})",
    }
    values |= places
    for header, name in NAME.items():
        values |= message(header, name, seen, values)
    return values


def message(header: int, name: str, seen: Mapping[str, tuple[str, ...]], values: Mapping[str, str]) -> dict[str, str]:
    """What a message is sent as and taken as, and how its sealed part is opened."""
    places = {f"take_{name}": group(f"=header_{name}", *(typed(part) for part, _ in FIELDS[header]))}
    terms = {"tag": values["tag_c" if header == msg.B3 else "tag_d"], "hint": f"hint_of({group(*seen['hint'])})"}
    if f"text_{name}" in seen:
        (key,), statement, text = seen[f"key_{name}"], group(*seen[f"statement_{name}"]), seen[f"text_{name}"]
        keyed = "isk" if header in (msg.B3, msg.B4) else "root"
        outside = (part if part == "nonce" else f"{part}({keyed})" for part in seen[f"associated_{name}"])
        associated = group(f"header_{name}", *outside)
        seed = "service_seed" if header in (msg.B3, msg.S3) else "device_seed"
        signed = {"signature": f"sign({seed}, {statement})"}
        terms["sealed"] = f"seal({key}({keyed}), {associated}, {tuple_of(signed.get(part, part) for part in text)})"
        places |= {f"key_{name}": key, f"associated_{name}": associated, f"statement_{name}": statement}
        places[f"open_{name}"] = tuple_of(map(typed, text))
    return places | {name: group(f"header_{name}", *(terms.get(part, part) for part, _ in FIELDS[header]))}


def tuple_of(terms: Iterable[str]) -> str:
    """One term stands for itself."""
    first, *others = terms
    return group(first, *others) if others else first


def typed(name: str) -> str:
    return f"{name}: {'point' if name in POINTS else 'bitstring'}"


def binding(expected: Mapping[str, bool], reveal: str = "phase 1; out(c, pin)") -> Model:
    return Model(("curves.pv", "binding.pv", "bind.pv"), BINDING, expected, partial(recorded, reveal=reveal))


def weak(holds: bool, *parts: str, **places: str) -> Model:
    parts = parts or ("curves.pv", "binding.pv", "weak_pin.pv")
    return Model(parts, ("pin_not_guessed",), {"pin_not_guessed": holds}, partial(recorded, **places))


def session(expected: Mapping[str, bool], reveal: str = "phase 1; out(c, (service_seed, device_seed))", **without: str):
    return Model(("curves.pv", "sts.pv"), SESSION, expected, partial(recorded, without, reveal=reveal))


def stolen(seed: str, side: str, other: str) -> Model:
    """Who has the seed of one side is taken for it by the other, but cannot be anybody else to that side."""
    expected = {f"{query}_{who}": who == side for query in ("agreement", "secret") for who in (side, other)}
    return session(expected, f"out(c, {seed})")


MODELS = {
    "bind": binding(dict.fromkeys(BINDING[:7], True) | dict.fromkeys(BINDING[7:], False)),
    "bind_weak": weak(True),
    "sts": session(dict.fromkeys(SESSION[:4], True) | {"opens_at_all": False}),
}
CONTROLS = {
    "pin_known": binding(
        dict.fromkeys(("device_key_genuine", "service_key_genuine", "secret_key"), False), "out(c, pin)"
    ),
    "pin_naive": weak(False, "pin_hashed.pv"),
    "pin_in_tags": weak(
        False,
        without={"generator": "pin"},
        tag_d=recorded()["tag_d"].replace("(share_d,", "(pin, share_d,"),
    ),
    "sts_without_service": session({"agreement_controller": False}, statement_s2="service_key"),
    "service_stolen": stolen("service_seed", "controller", "device"),
    "device_stolen": stolen("device_seed", "device", "controller"),
}
