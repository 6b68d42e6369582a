"""The data channel: Ascon-AEAD128 under the session keys, a counter per direction that only rises.

``0x18 | counter 4 | ciphertext | tag 16``; nonce = IV of the direction ‖ counter, associated data = the first five
bytes ‖ session id. A message whose tag is wrong or whose counter was seen leaves no trace.
"""

from ringpair_protocol import messages as msg
from ringpair_protocol.admin import Code, Event

from ringpair_hdl.control.assembler import (
    CARRY,
    MATCH,
    ZERO,
    Direction,
    Phase,
    Port,
    Program,
    Unit,
    start_word,
)
from ringpair_hdl.control.scratchpad import Field

from .handshake import DROP, SEND, flag
from .memory import SESSION, Memory

RECEIVED = 0x80


def crypt(p: Program, v: Memory, *, decrypt: int, key: Field, iv: Field, counter: Field) -> None:
    """LEN bytes of ``buffer`` in place; afterwards the sponge takes the key once more and gives the tag."""
    p.control(Unit.SPONGE, start_word(aead=1, decrypt=decrypt, ad=1))
    for field in (key, iv, counter, key):
        p.give(Port.SPONGE, field)
    p.give(Port.SPONGE, v.message)
    p.give(Port.SPONGE, counter)
    p.give(Port.SPONGE, v.session_id)
    p.control(Unit.SPONGE_END)
    p.control(Unit.DEST, v.buffer.address)
    p.move(Direction.CRYPT, Port.SPONGE, v.buffer, length=0)
    p.control(Unit.SPONGE_END)
    p.give(Port.SPONGE, key)


def read_counter(p: Program, v: Memory, otherwise: str) -> None:
    """Only a counter that was not seen, and that has one behind it, is not sent there."""
    p.take(Port.LINK, v.rx_counter)
    p.less(v.rx_counter, v.rx_next)
    p.jump(otherwise, ~CARRY)
    p.less(v.rx_counter, v.last_counter)
    p.jump(otherwise, CARRY)


def add_channel(p: Program, v: Memory) -> None:
    # Text from the host, LEN bytes of it in ``buffer``; status tells why not.
    with p.routine("send_text"):
        p.phase(Phase.CHANNEL)
        p.set(v.message, msg.DATA)
        p.call("seal_text")
        p.call("peer_frame")
        p.emit(Port.LINK, msg.DATA)
        p.give(Port.LINK, v.tx_counter)
        p.move(Direction.GIVE, Port.LINK, v.buffer, length=0)
        p.give(Port.LINK, v.tag)
        p.control(Unit.FRAME, SEND)
        p.control(Unit.SPONGE_CLEAR)
        p.zero(v.buffer)
        p.add(v.tx_counter, 1)

    # A data message; its opcode is taken already.
    with p.routine("on_data"):
        p.phase(Phase.CHANNEL)
        flag(p, v, SESSION)
        p.jump("drop_frame", ZERO)
        read_counter(p, v, "drop_frame")
        p.control(Unit.LENGTH, RECEIVED | msg.DATA_OVERHEAD)
        p.test(v.arrival, 1)
        with p.If(~ZERO):
            p.control(Unit.LENGTH, RECEIVED | msg.DATA_OVERHEAD + 1)
        p.call("open_text")
        p.control(Unit.FRAME, DROP)
        with p.If(MATCH):
            p.call("count_received")
            p.control(Unit.SIDE, 0)
            p.emit(Port.LINK, Event.TEXT)
            p.move(Direction.GIVE, Port.LINK, v.buffer, length=0)
            p.control(Unit.FRAME, SEND)
        p.control(Unit.SPONGE_CLEAR)
        p.zero(v.buffer)

    # LEN bytes of ``buffer`` and their ``tag``; the header is in ``message``.
    with p.routine("seal_text"):
        crypt(p, v, decrypt=0, key=v.tx_key, iv=v.tx_iv, counter=v.tx_counter)
        p.control(Unit.DEST, v.tag.address)
        p.move(Direction.CRYPT, Port.SPONGE, v.tx_key)

    # LEN bytes and the tag from the frame, under the counter that was read. MATCH: they are genuine.
    with p.routine("open_text"):
        p.move(Direction.TAKE, Port.LINK, v.buffer, length=0)
        crypt(p, v, decrypt=1, key=v.rx_key, iv=v.rx_iv, counter=v.rx_counter)
        p.move(Direction.CRYPT, Port.LINK, v.rx_key)

    with p.routine("count_received"):
        p.copy(v.rx_next, v.rx_counter)
        p.add(v.rx_next, 1)

    with p.routine("drop_frame"):
        p.control(Unit.FRAME, DROP)

    with p.routine("check_sender"):
        p.set(v.status, Code.OK)
        flag(p, v, SESSION)
        with p.If(ZERO):
            p.set(v.status, Code.NO_SESSION)
            p.ret()
        p.less(v.tx_counter, v.last_counter)
        with p.If(CARRY):
            p.set(v.status, Code.EXHAUSTED)
