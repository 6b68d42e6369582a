"""What the engine is told, and what it tells of the outcome."""

from enum import IntEnum, IntFlag

__all__ = ["Command", "OnElement", "Status"]


class OnElement(IntEnum):
    """Upper three bits of a command whose lower five are the number of an element."""

    LOAD = 1 << 5
    """32 bytes from `i`, the lowest first."""
    READ = 2 << 5
    """The 32 bytes go out on `o`; the element keeps them."""
    HASH = 3 << 5
    """The 32 bytes are hashed."""
    PUT = 4 << 5
    """The element becomes RESULT."""
    GET = 5 << 5
    """POINT becomes the element."""


class Command(IntEnum):
    """Commands without an element. Operands and results are `elements.Element`."""

    CLEAR = 0
    """Overwrite the memory."""
    STATUS = 1
    """The status of the last routine that sets it goes out on `o`: one byte, `Status`."""
    HASH_START = 2
    """Begin a message."""
    HASH = 3
    """Hash what comes on `i`: a byte that tells how many follow, and those."""
    HASH_PREFIXED = 4
    """The same; the byte that tells how many is hashed too."""
    HASH_FINISH = 5
    """Pad: the digest stands in elements 10 and 11, which READ gives in the standard's order."""
    X25519 = 6
    """RESULT = X25519(SCALAR, POINT), RFC 7748; status REFUSED if it is 0."""
    X25519_BASE = 7
    """RESULT = X25519(SCALAR, 9)."""
    ELLIGATOR = 8
    """RESULT = map_to_curve_elligator2(POINT): x of RFC 9380, section 6.7.1, with the top bit of POINT cleared."""
    KEY = 9
    """PUBLIC = public key of SEED (RFC 8032); SEED becomes the secret scalar, PREFIX what nonces are made of."""
    SIGN_BEGIN = 10
    """Of SEED: secret scalar and PREFIX; begins the message of the nonce. Then the message is to be hashed."""
    SIGN_COMMIT = 11
    """R of the signature; begins the message of the challenge with R and PUBLIC. Then the message is hashed again."""
    SIGN_END = 12
    """S of the signature. Secrets are overwritten."""
    VERIFY_BEGIN = 13
    """Begins the message of the challenge with R and PUBLIC. Then the message is to be hashed."""
    VERIFY_END = 14
    """Status REFUSED unless R, S is the signature by PUBLIC, which must be canonical and not of small order."""
    HMAC_START = 15
    """HMAC with the last digest as its key, which is kept in CHALLENGE and SPARE; then the message is to be hashed."""
    HMAC_AGAIN = 16
    """Another one with the key that is there."""
    HMAC_FINISH = 17
    """The digest becomes the HMAC. POINT and RESULT are overwritten."""


class Status(IntFlag):
    """Of the last routine that may refuse; BROKEN stays until the power goes."""

    REFUSED = 1
    BROKEN = 0x80
