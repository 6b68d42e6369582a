"""The control program of the device: what it does, written for the sequencer."""

from ringpair_protocol.admin import Identity

from ringpair_hdl.control import Program

from .admin import add_admin, add_main
from .binding import add_binding
from .channel import add_channel
from .controllers import COMMANDS, add_controllers
from .enroll import add_enroll
from .flash import add_flash
from .handshake import add_handshake
from .imports import add_imports
from .journal import add_journal
from .keys import add_keys
from .memory import Memory

__all__ = ["Memory", "pairing_program"]


def pairing_program(identity: Identity, ticks_per_second: float) -> tuple[Program, Memory]:
    """The program of the pairing profile, or of the full one, as the identity says.

    Parameters
    ----------
    identity
        What the device says of itself.
    ticks_per_second
        How often the button's tick comes, which the timeouts are counted in.
    """
    memory = Memory(identity)
    program = Program(memory.pad)
    add_main(program, memory)
    add_flash(program, memory)
    add_journal(program, memory)
    add_keys(program, memory)
    add_handshake(program, memory, ticks_per_second)
    add_channel(program, memory)
    add_enroll(program, memory, ticks_per_second)
    add_imports(program, memory)
    if memory.full:
        add_binding(program, memory)
        add_controllers(program, memory)
    add_admin(program, memory, COMMANDS if memory.full else {})
    return program, memory
