"""Ed25519 (RFC 8032, section 5.1): public key, signature, verification; between their parts messages are hashed."""

from .assembler import Program
from .constants import Rom
from .elements import Element as E
from .scalar import HIGH, LOW, canonical

__all__ = ["ed25519"]


def ed25519(p: Program):
    """Routines of the commands of the same names."""
    key(p)
    sign(p)
    verify(p)


def absorb(p: Program, *elements: int):
    """Their bytes go into the message."""
    for element in elements:
        p.call("absorb_element", element, element)


def key(p: Program):
    with p.routine("expand", secret=True):  # SEED: the secret scalar, as a number; PREFIX
        p.enter("begin")
        absorb(p, E.SEED)
        p.enter("digest")
        p.call("copy", E.BITS, 0, E.DIGEST)
        p.enter("clamp")
        p.call("copy", E.SCALAR, 0, E.BITS)
        p.call("copy", E.PREFIX, 0, E.DIGEST + 1)
        p.ret()
    with p.routine("key", secret=True):
        p.enter("expand")
        p.enter("multiple")
        p.call("copy", E.PUBLIC, 0, E.E11)
        p.jump("end")


def sign(p: Program):
    with p.routine("sign_begin", secret=True):
        p.enter("expand")
        p.enter("begin")
        absorb(p, E.PREFIX)
        p.jump("end")
    with p.routine("sign_commit", secret=True, resumed=True):
        p.enter("digest")
        p.enter("reduce_digest")
        p.call("copy", E.NONCE, 0, LOW)
        p.call("copy", E.BITS, 0, LOW)
        p.enter("multiple")
        p.call("copy", E.R, 0, E.E11)
        p.jump("verify_begin")
    with p.routine("sign_end", secret=True, resumed=True):  # S = nonce + challenge · secret
        p.enter("digest")
        p.enter("reduce_digest")
        p.call("product", 0, LOW, E.SCALAR)
        p.call("copy", LOW, 0, E.PRODUCT)
        p.call("copy", HIGH, 0, E.PRODUCT_HIGH)
        p.enter("reduce")
        canonical(p)
        p.call("plus", LOW, LOW, E.NONCE)
        canonical(p)
        p.call("copy", E.S, 0, LOW)
        p.enter("forget")
        p.jump("end")


def verify(p: Program):
    with p.routine("verify_begin", secret=True):
        p.enter("begin")
        absorb(p, E.R, E.PUBLIC)
        p.jump("end")
    with p.routine("verify_end", secret=False, resumed=True):
        p.enter("digest")
        p.enter("reduce_digest")
        p.call("copy", E.CHALLENGE, 0, LOW)
        p.call("minus", LOW, E.S, Rom.L)
        p.if_flag("below L")
        p.jump("invalid")
        p.label("below L")
        p.enter("flag_off")
        p.enter("decode")
        p.enter("double_multiple")
        p.enter("encode")
        p.call("differ", 0, E.E11, E.R)
        p.enter("refuse_different")
        p.jump("end")
        p.label("invalid")
        p.enter("refuse")
        p.jump("end")
