"""The symbolic models for ProVerif, put together from parts, with the verdicts that they must get: those of PPAKE-1.
Bindings and controllers' sessions are in `bindings`.

Every tuple of a message, of the input of a tag and of the transcript is made from the tables of the protocol package,
so a model cannot differ from the device in what is hashed or sent. A control is a model with one thing taken away;
there ProVerif must find an attack.
"""

from collections.abc import Mapping
from functools import partial

from ringpair_protocol import derivations as kdf
from ringpair_protocol import messages as msg

from . import bindings
from .model import Model, group

HEADERS = {msg.M1: "header_m1", msg.M2: "header_m2", msg.M3: "header_m3", msg.RESYNC: "header_resync"}
FIELDS = {
    msg.M1: (("nonce_i", msg.NONCE_LENGTH), ("tag_1", msg.TAG_LENGTH)),
    msg.M2: (("nonce_r", msg.NONCE_LENGTH), ("tag", msg.TAG_LENGTH)),
    msg.M3: (("tag", msg.TAG_LENGTH),),
    msg.RESYNC: (("tag", msg.TAG_LENGTH),),
}
"""What follows the header of a message."""

PROPERTIES = (
    *("secret_initiator", "secret_responder", "agreement_initiator", "agreement_responder", "moved_by_peer"),
    *("caught_up_to_peer", "no_unknown_key_share", "unique_keys", "erased_by_responder", "erased_by_initiator"),
    *("accepts_at_all", "catches_up_at_all"),
)
"""The queries of properties.pv in their order."""
PAIRING = ("secret_initiator", "secret_responder", "agreement_responder", "imported_as_paired", "accepts_at_all")
HOLDS = dict.fromkeys(PROPERTIES[:10], True) | dict.fromkeys(PROPERTIES[10:], False)


def hashed(row: kdf.Derivation, without: tuple[str, ...], **values: str) -> str:
    """The inputs of a derivation behind its key."""
    return group(*(values.get(name, name) for name, _ in row.inputs[1:] if name not in without))


def derived(without: tuple[str, ...] = (), **places: str) -> dict[str, str]:
    """What comes from the protocol package, but for the inputs of hashes that a control leaves out, and its places."""
    chain_next, auth_key, session_root = (name for name, _ in kdf.EPOCH.outputs)
    tag_2, tag_3 = (name for name, _ in kdf.SESSION.outputs[:2])
    sent = {
        msg.M1: {},
        msg.M2: {"tag": f"{tag_2}(session_root(ck), transcript)"},
        msg.M3: {"tag": f"{tag_3}(session_root(ck), transcript)"},
    }
    auth = {header: hashed(kdf.AUTH, without, header=HEADERS[header]) for header in (msg.M1, msg.RESYNC)}
    sent[msg.RESYNC] = {"tag": f"auth(auth_key(chain_next(ck)), {auth[msg.RESYNC]})"}
    values = {
        "headers": ", ".join(HEADERS.values()),
        "chain_next": chain_next,
        "auth_key": auth_key,
        "session_root": session_root,
        "tag_2": tag_2,
        "tag_3": tag_3,
        "auth_label": kdf.AUTH.label.decode(),
        "session_label": kdf.SESSION.label.decode(),
        "auth_m1": auth[msg.M1],
        "auth_resync": auth[msg.RESYNC],
        "transcript": hashed(kdf.SESSION, without, header_1=HEADERS[msg.M1], header_2=HEADERS[msg.M2]),
        "draw_nonce_i": "new nonce_i: bitstring;",
        "draw_nonce_r": "new nonce_r: bitstring;",
        "next_wrap": "next_wrap",
        "puzzle_key": kdf.PUZZLE_KEY.outputs[0][0],
        "pair": "pair",
        "kek": kdf.KEK.outputs[0][0],
        "registry_later": "(next_wrap(wrap_A), next_wrap(wrap_B))",
        "seized": "(chain_next(chain_next(ck_0)), auth_key(chain_next(ck_0)))",
    }
    for header, name in HEADERS.items():
        short = name.removeprefix("header_")
        names = [part for part, _ in FIELDS[header]]
        values[short] = group(name, *(sent[header].get(part, part) for part in names))
        values[f"take_{short}"] = group(f"={name}", *(f"{part}: bitstring" for part in names))
    return values | places


CHOSEN = {"draw_nonce_i": "in(c, nonce_i: bitstring);", "draw_nonce_r": "in(c, nonce_r: bitstring);"}
BROKEN = {"secret_initiator": False, "secret_responder": False}


def handshake(world: str, expected: Mapping[str, bool], *without: str, **places: str) -> Model:
    return Model(("handshake.pv", "properties.pv", world), PROPERTIES, expected, partial(derived, without, **places))


def looks_random(holds: bool, **places: str) -> Model:
    parts = ("handshake.pv", "random_looking.pv")
    return Model(parts, ("equivalent",), {"equivalent": holds}, partial(derived, **places))


def pairing(expected: Mapping[str, bool], **places: str) -> Model:
    return Model(("handshake.pv", "pairing.pv"), PAIRING, expected, partial(derived, **places))


MODELS = {
    "handshake": handshake("world.pv", HOLDS),
    "chosen_nonces": handshake(
        "world_chosen_nonces.pv", dict.fromkeys(PROPERTIES[:5], True) | {"accepts_at_all": False}, **CHOSEN
    ),
    "random_looking": looks_random(True),
    "unlinkable": Model(("handshake.pv", "unlinkable.pv"), ("equivalent",), {"equivalent": True}, derived),
    "pairing": pairing(dict.fromkeys(PAIRING[:4], True) | {"accepts_at_all": False}),
    **bindings.MODELS,
    # controls
    "no_erasure": handshake("world_no_erasure.pv", BROKEN),
    "key_known": handshake("world_key_known.pv", BROKEN | {"agreement_initiator": False, "agreement_responder": False}),
    "seized_early": handshake("world_seized_early.pv", BROKEN),
    "no_direction": handshake("world.pv", {"no_unknown_key_share": False}, "direction"),
    "linked_by_old_key": looks_random(False, seized="(chain_next(ck_0), auth_key(ck_0))"),
    "registry_keeps_keys": pairing(BROKEN, registry_later="(wrap_A, wrap_B)"),
    **bindings.CONTROLS,
}
"""Those from ``no_erasure`` on are controls."""
CONTROLS = tuple(MODELS)[tuple(MODELS).index("no_erasure") :]
