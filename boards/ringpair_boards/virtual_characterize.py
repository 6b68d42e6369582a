"""The virtual board with the characterization gateware: `virtual.VirtualBoard` without the device.

Design("ringpair_boards.virtual_characterize:virtual_characterize")
"""

import hashlib

from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from ringpair_hdl.characterize import Characterizer
from ringpair_hdl.puf.rings import SimulatedRings, connect_rings
from ringpair_protocol import puf
from ringpair_protocol.admin import BAUD, Identity, Profile

from .virtual import FLOORPLAN

__all__ = ["VirtualCharacterizer", "virtual_characterize"]

UNUSED = {
    **{name: In(1) for name in ("peer_rx", "flash_cipo", "button")},
    "peer_tx": Out(1, init=1),
    "flash_cs_n": Out(1, init=1),
    "flash_sck": Out(1),
    "flash_copi": Out(1),
    "phase": Out(4),
}
"""Ports of every virtual board that this gateware has no use for."""


class VirtualCharacterizer(wiring.Component):
    """Top of the simulation, with the ports of `virtual.VirtualBoard`.

    Parameters
    ----------
    clock_mhz
        System clock.
    gateware
        8 bytes that name this gateware; see `virtual_characterize`.
    admin_baud
        Rate of the admin port.
    """

    def __init__(self, *, clock_mhz: int = 12, gateware: bytes = bytes(8), admin_baud: int = BAUD):
        identity = Identity(
            profile=Profile.CHARACTERIZE,
            simulated=True,
            clock_mhz=clock_mhz,
            gateware=gateware,
            floorplan=FLOORPLAN,
            layout_version=puf.NO_LAYOUT.version,
        )
        self.core = Characterizer(identity, baud=admin_baud)
        ports = {name: member for name, member in self.core.signature.members.items() if name != "rings"}
        counts = {f"ring_count{channel}": In(puf.COUNT_BITS) for channel in range(puf.CHANNELS)}
        super().__init__({**ports, **UNUSED, "ring_index": Out(6), "ring_run": Out(1), **counts})

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self.core
        m.submodules.rings = rings = SimulatedRings()
        connect_rings(m, core.rings, rings)
        m.d.comb += [self.peer_tx.eq(1), self.flash_cs_n.eq(1)]
        for name, member in self.signature.members.items():
            if name not in UNUSED:
                inner = getattr(rings if name.startswith("ring_") else core, name)
                outer = getattr(self, name)
                m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m


def virtual_characterize(**parameters) -> VirtualCharacterizer:
    """One that knows its own gateware hash: SHA-256 of its netlist with that field zero, 8 bytes."""
    blank = rtlil.convert(VirtualCharacterizer(**parameters), name="top", emit_src=False)
    return VirtualCharacterizer(**parameters, gateware=hashlib.sha256(blank.encode()).digest()[:8])
