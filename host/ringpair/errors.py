"""What can go wrong on the host, as one small tree.

::

    RingpairError              1   refused, failed or interrupted
    ├── UsageError             2   the command line or an argument makes no sense
    ├── TransportError         3   the port cannot be opened, or broke
    │   └── PortBusy           3   another process has it
    ├── ProtocolError          3   what answers is no ringpair device, or none of this protocol level
    │   └── NoReply            3   a reply did not come: what the command did is unknown
    ├── Refused                1   the device said no, and why
    ├── ConnectFailed          1   a handshake came to nothing, and why
    ├── BindingFailed          1   a PIN is wrong, or who answers is not the device it should be
    └── RegistryError          4   the registry cannot be read or written, or does not hold what was asked for
        ├── RegistryLocked     4   another process writes to it
        └── WrongPassphrase    4   the secrets of the registry stay closed

The number is the exit code of the command line. Every message says what was expected, what came and what to do, in
one line.
"""

from ringpair_protocol.admin import EXPLANATION, Code, Opcode


class RingpairError(Exception):
    """Anything this package reports instead of doing what it was asked to."""

    exit_code = 1


class UsageError(RingpairError):
    """An argument that cannot be meant."""

    exit_code = 2


class TransportError(RingpairError):
    """The way to the device is missing, forbidden or broken."""

    exit_code = 3


class PortBusy(TransportError):
    """Another process uses the port."""


class ProtocolError(RingpairError):
    """The other end does not speak this protocol."""

    exit_code = 3


class NoReply(ProtocolError):
    """A command went out and no reply came: it may or may not have been carried out."""


class Refused(RingpairError):
    """The device answered a command with a reason why not.

    Attributes
    ----------
    opcode, code
        The command and the reason.
    """

    def __init__(self, opcode: Opcode, code: Code, detail: str = "") -> None:
        super().__init__(f"the device refused {opcode.name} ({code.name}): {EXPLANATION[code]}{detail}")
        self.opcode = opcode
        self.code = code


class ConnectFailed(RingpairError):
    """A handshake ended without a session.

    Attributes
    ----------
    code
        The reason that the device gave.
    """

    def __init__(self, peer: int, code: Code) -> None:
        super().__init__(f"no session with peer {peer} ({code.name}): {EXPLANATION[code]}")
        self.peer = peer
        self.code = code


class BindingFailed(RingpairError):
    """A binding or a session of a controller came to nothing."""


class RegistryError(RingpairError):
    """The registry cannot do what was asked."""

    exit_code = 4


class RegistryLocked(RegistryError):
    """Another process is writing to the registry."""


class WrongPassphrase(RegistryError):
    """The passphrase or the keyring's key does not open this registry."""
