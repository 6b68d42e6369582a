"""Ascon of NIST SP 800-232 (August 2025): Ascon-Hash256, Ascon-XOF128, Ascon-CXOF128 and Ascon-AEAD128.

The executable reference of the gateware and the host's own crypto. The state is five 64-bit integers; bytes enter them
little-endian (SP 800-232, appendix A). Section numbers below are those of SP 800-232.

Plain Python: the time may depend on the data, except that of the comparison of tags.
"""

from hmac import compare_digest

KEY_BYTES = 16
NONCE_BYTES = 16
TAG_BYTES = 16
HASH_BYTES = 32
CUSTOMIZATION_MAX = 256

IV_AEAD128 = 0x0000_1000_808C_0001
IV_HASH256 = 0x0000_0801_00CC_0002
IV_XOF128 = 0x0000_0800_00CC_0003
IV_CXOF128 = 0x0000_0800_00CC_0004

Bytes = bytes | bytearray | memoryview
State = tuple[int, int, int, int, int]

_MASK = (1 << 64) - 1
_CONSTANTS = tuple(0x10 * (15 - k) + k for k in range(12))  # section 3.2; 8 rounds take the last 8
_ROUNDS = {12: _CONSTANTS, 8: _CONSTANTS[4:]}
_AEAD_RATE, _HASH_RATE = 16, 8
_SEPARATOR = 1 << 63


class WrongTag(ValueError):
    """The ciphertext, its associated data, the nonce or the key is not the one that made the tag."""


def permute(x0: int, x1: int, x2: int, x3: int, x4: int, rounds: int = 12) -> State:
    """Ascon-p[12] or Ascon-p[8] (section 3)."""
    mask = _MASK
    for constant in _ROUNDS[rounds]:
        # substitution layer, section 3.3, on all 64 columns at once
        x0 ^= x4
        x4 ^= x3
        x2 ^= x1 ^ constant
        y0 = x0 ^ (x2 & ~x1)
        y1 = x1 ^ (x3 & ~x2)
        y2 = x2 ^ (x4 & ~x3)
        y3 = x3 ^ (x0 & ~x4)
        y4 = x4 ^ (x1 & ~x0)
        y1 ^= y0
        y3 ^= y2
        y0 ^= y4
        y2 ^= mask
        # linear layer, section 3.4: a rotation is a shift of the word written twice
        d0 = y0 << 64 | y0
        d1 = y1 << 64 | y1
        d2 = y2 << 64 | y2
        d3 = y3 << 64 | y3
        d4 = y4 << 64 | y4
        x0 = (y0 ^ d0 >> 19 ^ d0 >> 28) & mask
        x1 = (y1 ^ d1 >> 61 ^ d1 >> 39) & mask
        x2 = (y2 ^ d2 >> 1 ^ d2 >> 6) & mask
        x3 = (y3 ^ d3 >> 10 ^ d3 >> 17) & mask
        x4 = (y4 ^ d4 >> 7 ^ d4 >> 41) & mask
    return x0, x1, x2, x3, x4


def hash256(message: Bytes) -> bytes:
    """32-byte digest of a message (section 5.1)."""
    return _squeeze(_absorb(permute(IV_HASH256, 0, 0, 0, 0), _bytes(message, "message")), HASH_BYTES)


def xof128(message: Bytes, length: int) -> bytes:
    """`length` bytes of output for a message (section 5.2)."""
    _check_length(length)
    return _squeeze(_absorb(permute(IV_XOF128, 0, 0, 0, 0), _bytes(message, "message")), length)


def cxof128(message: Bytes, customization: Bytes, length: int) -> bytes:
    """`length` bytes of output for a message under a customization string of at most 256 bytes (section 5.3)."""
    _check_length(length)
    label = _bytes(customization, "customization")
    if len(label) > CUSTOMIZATION_MAX:
        raise ValueError(f"customization must be at most {CUSTOMIZATION_MAX} bytes, not {len(label)}")
    x0, x1, x2, x3, x4 = permute(IV_CXOF128, 0, 0, 0, 0)
    state = permute(x0 ^ 8 * len(label), x1, x2, x3, x4)
    return _squeeze(_absorb(_absorb(state, label), _bytes(message, "message")), length)


def aead128_encrypt(key: Bytes, nonce: Bytes, associated_data: Bytes, plaintext: Bytes) -> bytes:
    """Ciphertext, as long as the plaintext, with the 16-byte tag behind it (section 4.1.1)."""
    text = _bytes(plaintext, "plaintext")
    state, (k0, k1) = _start(key, nonce, associated_data)
    state, ciphertext = _crypt(state, text, decrypt=False)
    return ciphertext + _tag(state, k0, k1)


def aead128_decrypt(key: Bytes, nonce: Bytes, associated_data: Bytes, ciphertext: Bytes) -> bytes:
    """Plaintext of a ciphertext with its tag (section 4.1.2).

    Raises
    ------
    WrongTag
        Nothing of the plaintext is released. A ciphertext shorter than a tag has a wrong one.
    """
    sealed = _bytes(ciphertext, "ciphertext")
    state, (k0, k1) = _start(key, nonce, associated_data)
    if len(sealed) < TAG_BYTES:
        raise WrongTag(f"ciphertext must have at least the {TAG_BYTES} bytes of a tag, not {len(sealed)}")
    state, plaintext = _crypt(state, sealed[:-TAG_BYTES], decrypt=True)
    if not compare_digest(_tag(state, k0, k1), sealed[-TAG_BYTES:]):
        raise WrongTag("wrong tag: not encrypted with this key, nonce and associated data, or changed since")
    return plaintext


def _bytes(value: Bytes, name: str, size: int | None = None) -> bytes:
    try:
        content = memoryview(value).tobytes()
    except TypeError:
        raise TypeError(f"{name} must be bytes-like, not {type(value).__name__}") from None
    if size is not None and len(content) != size:
        raise ValueError(f"{name} must be {size} bytes, not {len(content)}")
    return content


def _check_length(length: int) -> None:
    if not isinstance(length, int):
        raise TypeError(f"length must be an int, not {type(length).__name__}")
    if length < 0:
        raise ValueError(f"length must not be negative, not {length}")


def _word(block: bytes) -> int:
    """Up to eight bytes, little-endian."""
    return int.from_bytes(block, "little")


def _padded(rest: bytes) -> int:
    """The bytes of an incomplete block with the padding 0x01, 0x00, … (section 2: a one and zeros, from bit 0 up)."""
    return _word(rest) | 1 << 8 * len(rest)


def _absorb(state: State, data: bytes) -> State:
    """Absorb a padded string at rate 8, twelve rounds after every block."""
    x0, x1, x2, x3, x4 = state
    end = len(data) - len(data) % _HASH_RATE
    for at in range(0, end, _HASH_RATE):
        x0, x1, x2, x3, x4 = permute(x0 ^ _word(data[at : at + _HASH_RATE]), x1, x2, x3, x4)
    return permute(x0 ^ _padded(data[end:]), x1, x2, x3, x4)


def _squeeze(state: State, length: int) -> bytes:
    output = bytearray()
    while True:
        output += state[0].to_bytes(_HASH_RATE, "little")
        if len(output) >= length:
            return bytes(output[:length])
        state = permute(*state)


def _start(key: Bytes, nonce: Bytes, associated_data: Bytes) -> tuple[State, tuple[int, int]]:
    """State after initialization and associated data, and the key in two words."""
    k = _bytes(key, "key", KEY_BYTES)
    n = _bytes(nonce, "nonce", NONCE_BYTES)
    data = _bytes(associated_data, "associated_data")
    k0, k1 = _word(k[:8]), _word(k[8:])
    x0, x1, x2, x3, x4 = permute(IV_AEAD128, k0, k1, _word(n[:8]), _word(n[8:]))
    x3, x4 = x3 ^ k0, x4 ^ k1
    if data:
        end = len(data) - len(data) % _AEAD_RATE
        for at in range(0, end, _AEAD_RATE):
            a, b = _word(data[at : at + 8]), _word(data[at + 8 : at + 16])
            x0, x1, x2, x3, x4 = permute(x0 ^ a, x1 ^ b, x2, x3, x4, 8)
        last = _padded(data[end:])
        x0, x1, x2, x3, x4 = permute(x0 ^ last & _MASK, x1 ^ last >> 64, x2, x3, x4, 8)
    return (x0, x1, x2, x3, x4 ^ _SEPARATOR), (k0, k1)


def _crypt(state: State, text: bytes, *, decrypt: bool) -> tuple[State, bytes]:
    """The other text, and the state after the last, incomplete block, before the final permutation."""
    x0, x1, x2, x3, x4 = state
    output = bytearray()
    end = len(text) - len(text) % _AEAD_RATE
    for at in range(0, end, _AEAD_RATE):
        a, b = _word(text[at : at + 8]), _word(text[at + 8 : at + 16])
        output += (x0 ^ a).to_bytes(8, "little") + (x1 ^ b).to_bytes(8, "little")
        x0, x1, x2, x3, x4 = permute(*((a, b) if decrypt else (x0 ^ a, x1 ^ b)), x2, x3, x4, 8)
    rest = text[end:]
    rate = x1 << 64 | x0
    other = (rate ^ _word(rest)).to_bytes(_AEAD_RATE, "little")[: len(rest)]
    rate ^= _padded(other if decrypt else rest)  # the state takes the plaintext's padding either way
    return (rate & _MASK, rate >> 64, x2, x3, x4), bytes(output) + other


def _tag(state: State, k0: int, k1: int) -> bytes:
    """Finalization."""
    x0, x1, x2, x3, x4 = state
    _, _, _, x3, x4 = permute(x0, x1, x2 ^ k0, x3 ^ k1, x4)
    return (x3 ^ k0).to_bytes(8, "little") + (x4 ^ k1).to_bytes(8, "little")
