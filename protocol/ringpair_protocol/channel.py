"""The data channel of an accepted session: ``0x18 | counter 4 | ciphertext | tag 16``.

Ascon-AEAD128 under the key of the direction; nonce = IV of the direction ‖ counter; associated data = the first five
bytes ‖ session id. A receiver takes rising counters only, gaps are allowed: what was lost stays lost, what comes twice
or late is dropped.
"""

from dataclasses import dataclass, field, replace

from .admin import Role
from .ascon import WrongTag, aead128_decrypt, aead128_encrypt
from .messages import COUNTER_LENGTH, DATA, DATA_HEADER, DATA_OVERHEAD, TEXT_MAX

MAX_COUNTER = 2**32 - 2
"""The last data counter: one more would leave no next one."""
OPENING_COUNTER = 2**32 - 1
"""Counter of what opens a controller's session: no data message has it."""


class CounterExhausted(Exception):
    """The session has sent its last message: connect again."""


def seal(key: bytes, iv: bytes, header: int, counter: int, session_id: bytes, text: bytes) -> bytes:
    """Ciphertext and tag of one message."""
    number = counter.to_bytes(COUNTER_LENGTH, "little")
    return aead128_encrypt(key, iv + number, bytes([header]) + number + session_id, text)


def unseal(key: bytes, iv: bytes, header: int, counter: int, session_id: bytes, sealed: bytes) -> bytes:
    """The text of :func:`seal`. Raises ``WrongTag``."""
    number = counter.to_bytes(COUNTER_LENGTH, "little")
    return aead128_decrypt(key, iv + number, bytes([header]) + number + session_id, sealed)


@dataclass(frozen=True)
class Session:
    """An accepted (or, for a responder before M3, prepared) session; ``epoch`` is the one that was used up."""

    role: Role
    peer: int
    epoch: int
    carrier: int
    session_id: bytes
    exporter: bytes = field(repr=False)
    key_out: bytes = field(repr=False)
    iv_out: bytes = field(repr=False)
    key_in: bytes = field(repr=False)
    iv_in: bytes = field(repr=False)
    next_out: int = 0
    next_in: int = 0

    def seal(self, text: bytes) -> tuple["Session", bytes]:
        """The session afterwards, and the message for 1 to 96 bytes of text.

        Raises
        ------
        CounterExhausted
            All counters are used up.
        ValueError
            The text is empty or too long.
        """
        if not 1 <= len(text) <= TEXT_MAX:
            raise ValueError(f"a text has 1 to {TEXT_MAX} bytes, not {len(text)}: split it")
        if self.next_out > MAX_COUNTER:
            raise CounterExhausted
        header = bytes([DATA]) + self.next_out.to_bytes(COUNTER_LENGTH, "little")
        sealed = seal(self.key_out, self.iv_out, DATA, self.next_out, self.session_id, text)
        return replace(self, next_out=self.next_out + 1), header + sealed

    def open(self, message: bytes) -> tuple["Session", bytes] | None:
        """The session afterwards and the text; None if the message is not genuine, not new, or of a wrong length."""
        if not 1 <= len(message) - DATA_OVERHEAD <= TEXT_MAX or message[0] != DATA:
            return None
        counter = int.from_bytes(message[1:DATA_HEADER], "little")
        if not self.next_in <= counter <= MAX_COUNTER:
            return None
        try:
            text = unseal(self.key_in, self.iv_in, DATA, counter, self.session_id, message[DATA_HEADER:])
        except WrongTag:
            return None
        return replace(self, next_in=counter + 1), text
