"""Every key and tag of PPAKE-1, and of bindings, as one row of one table.

A row names a label (the seven ASCII bytes of the Ascon-CXOF128 customization string), its input fields in order and
its output fields in order. The reference model interprets the rows (:meth:`Derivation.__call__`), the gateware compiles
them into its control program, the documentation prints them. All fields have a fixed length, so no input is ambiguous.
"""

from dataclasses import dataclass

from .ascon import cxof128

Fields = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Derivation:
    """``CX(label, inputs, sum of outputs)``: fields are pairs of a name and a length in bytes."""

    label: bytes
    inputs: Fields
    outputs: Fields

    def __post_init__(self) -> None:
        if len(self.label) != 7:
            raise ValueError(f"a label has 7 bytes, not {len(self.label)}: {self.label!r}")

    def __call__(self, **values: bytes) -> dict[str, bytes]:
        """Derive all outputs.

        Parameters
        ----------
        values
            One ``bytes`` per input field, of the field's length.

        Returns
        -------
        dict
            Output name to bytes.

        Raises
        ------
        ValueError
            A field is missing, unknown, or of a wrong length.
        """
        if values.keys() != dict(self.inputs).keys():
            raise ValueError(f"{self.label!r} takes {[n for n, _ in self.inputs]}, not {sorted(values)}")
        for name, length in self.inputs:
            if len(values[name]) != length:
                raise ValueError(f"{self.label!r}: {name} must have {length} bytes, not {len(values[name])}")
        stream = cxof128(b"".join(values[name] for name, _ in self.inputs), self.label, sum(n for _, n in self.outputs))
        result = {}
        for name, length in self.outputs:
            result[name], stream = stream[:length], stream[length:]
        return result


_PUF = (("puf_key", 32), ("salt", 16))

HELPER_DIGEST = Derivation(b"P1-hlp_", (("helper", 72), ("floorplan", 8), ("layout_version", 2)), (("digest", 16),))
CHECK = Derivation(b"P1-chk_", (("digest", 16), ("bits", 24)), (("check", 8),))
PUF_KEY = Derivation(b"P1-puf_", (("bits", 24), ("digest", 16)), (("puf_key", 32),))

DEVICE_KEY = Derivation(b"P1-devk", _PUF, (("device_key", 16),))
DEVICE_ID = Derivation(b"P1-devi", _PUF, (("device_id", 8),))
IDENTITY_SEED = Derivation(b"P1-edid", _PUF, (("identity_seed", 32),))
KEK = Derivation(b"P1-kek_", (*_PUF, ("pair_index", 2)), (("kek", 16),))

FIRST_WRAP = Derivation(b"P1-kw0_", (*_PUF, ("random", 32)), (("wrap_key", 32),))
NEXT_WRAP = Derivation(b"P1-kwn_", (("wrap_key", 32),), (("wrap_key", 32),))
PUZZLE_KEY = Derivation(b"P1-pzl_", (("wrap_key", 32),), (("puzzle_key", 16),))
ENROLL = Derivation(b"P1-enrl", (("wrap_key", 32), ("nonce_s", 16), ("device_id", 8)), (("tag", 16),))

# AK_(-1) is squeezed behind CK_0: a key nobody uses, so that epoch 0 needs no special case.
PAIR = Derivation(b"P1-pair", (("pair_key", 32), ("id_low", 8), ("id_high", 8)), (("chain_key", 32), ("auth_prev", 16)))
EPOCH = Derivation(b"P1-epch", (("chain_key", 32),), (("chain_next", 32), ("auth_key", 16), ("session_root", 32)))
AUTH = Derivation(b"P1-auth", (("auth_key", 16), ("header", 1), ("direction", 1), ("nonce_i", 16)), (("tag", 16),))
SESSION = Derivation(
    b"P1-sess",
    (
        ("session_root", 32),
        ("header_1", 1),
        ("header_2", 1),
        ("direction", 1),
        ("nonce_i", 16),
        ("tag_1", 16),
        ("nonce_r", 16),
    ),
    (
        ("tag_2", 16),
        ("tag_3", 16),
        ("key_ir", 16),
        ("key_ri", 16),
        ("exporter", 32),
        ("session_id", 8),
        ("iv_ir", 12),
        ("iv_ri", 12),
    ),
)

SERVICE_ID = Derivation(b"P1-svid", (("service_key", 32),), (("service_id", 8),))
PRESET_PIN = Derivation(b"P1-pin_", _PUF, (("digits", 8),))
BIND_KEYS = Derivation(b"P1-bkey", (("isk", 64),), (("key_cd", 16), ("key_dc", 16)))
HINT = Derivation(b"P1-hint", (("service_id", 8), ("share_c", 32)), (("hint", 1),))
CONTROLLER_SESSION = Derivation(
    b"P1-skey",
    (("secret", 32), ("share_c", 32), ("share_d", 32)),
    (("key_cd", 16), ("key_dc", 16), ("iv_cd", 12), ("iv_dc", 12), ("exporter", 32), ("session_id", 8)),
)

RANDOM = Derivation(b"P1-trng", (("raw", 64),), (("random", 32),))
"""The conditioner of the random generator: 512 raw bits that passed the health tests give 256 bits."""

TABLE = (
    HELPER_DIGEST,
    CHECK,
    PUF_KEY,
    DEVICE_KEY,
    DEVICE_ID,
    IDENTITY_SEED,
    KEK,
    FIRST_WRAP,
    NEXT_WRAP,
    PUZZLE_KEY,
    ENROLL,
    PAIR,
    EPOCH,
    AUTH,
    SESSION,
    SERVICE_ID,
    PRESET_PIN,
    BIND_KEYS,
    HINT,
    CONTROLLER_SESSION,
    RANDOM,
)
