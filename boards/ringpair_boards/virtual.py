"""The virtual board: the device with simulated rings and noise, and flat ports for a compiled simulation."""

import hashlib
from collections.abc import Mapping
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from ringpair_hdl.device import Device
from ringpair_hdl.puf.rings import SimulatedRings, connect_rings
from ringpair_protocol import puf
from ringpair_protocol.admin import BAUD, Identity, Profile

FLOORPLAN = puf.floorplan_id("virtual board: 192 modeled rings, 12 x 8 tiles")


PROFILES = {"pair": Profile.PAIR, "full": Profile.FULL}
LAYOUTS = {"modeled": puf.MODELED_LAYOUT, "none": puf.NO_LAYOUT}


def layout_argument(quantizer: puf.Quantizer) -> dict[str, Any]:
    """A layout table and spread as plain values, for the argument `layout` of `VirtualBoard`."""
    layout = quantizer.layout
    return {"version": layout.version, "entries": list(layout.entries), "sigma_ppm": quantizer.sigma_ppm}


def quantizer_of(layout: str | Mapping[str, Any]) -> puf.Quantizer:
    """What the argument `layout` of `VirtualBoard` stands for."""
    if isinstance(layout, str):
        if layout not in LAYOUTS:
            raise ValueError(f"the layout of a virtual board is one of {', '.join(LAYOUTS)}, not {layout!r}")
        return puf.Quantizer(LAYOUTS[layout])
    table = puf.Layout(layout["version"], tuple(layout["entries"]))
    return puf.Quantizer(table.packed(), layout["sigma_ppm"])


class VirtualBoard(wiring.Component):
    """Top of the simulation; see ``Device`` for the ports, and ``SimulatedRings`` for those of the rings.

    Parameters
    ----------
    clock_mhz
        System clock.
    gateware
        8 bytes that name this gateware; see :func:`virtual_board`.
    profile
        ``pair`` or ``full``.
    layout
        Table of systematic ring frequencies: ``modeled`` is right for the silicon model, ``none`` for measured silicon,
        or what `layout_argument` gives for another table, which is rounded as `Layout.packed` does.
    budget
        Tries of the search.
    admin_baud, peer_baud
        Rates of the two ports.
    """

    def __init__(
        self,
        *,
        clock_mhz: int = 12,
        gateware: bytes = bytes(8),
        profile: str = "pair",
        layout: str | Mapping[str, Any] = "modeled",
        budget: int = puf.SEARCH_BUDGET,
        admin_baud: int = BAUD,
        peer_baud: int = BAUD,
    ):
        if profile not in PROFILES:
            raise ValueError(f"the profile of a virtual board is one of {', '.join(PROFILES)}, not {profile!r}")
        quantizer = quantizer_of(layout)
        identity = Identity(
            profile=PROFILES[profile],
            simulated=True,
            clock_mhz=clock_mhz,
            gateware=gateware,
            floorplan=FLOORPLAN,
            layout_version=quantizer.layout.version,
        )
        self.device = Device(identity, admin_baud=admin_baud, peer_baud=peer_baud, quantizer=quantizer, budget=budget)
        ports = {name: member for name, member in self.device.signature.members.items() if name != "rings"}
        counts = {f"ring_count{channel}": In(puf.COUNT_BITS) for channel in range(puf.CHANNELS)}
        super().__init__({**ports, "ring_index": Out(6), "ring_run": Out(1), **counts})

    def elaborate(self, platform):
        m = Module()
        m.submodules.device = device = self.device
        m.submodules.rings = rings = SimulatedRings()
        connect_rings(m, device.rings, rings)
        for name, member in self.signature.members.items():
            inner = getattr(rings if name.startswith("ring_") else device, name)
            outer = getattr(self, name)
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        return m


def virtual_board(**parameters) -> VirtualBoard:
    """A virtual board that knows its own gateware hash: SHA-256 of its netlist with that field zero, 8 bytes."""
    blank = rtlil.convert(VirtualBoard(**parameters), name="top", emit_src=False)
    return VirtualBoard(**parameters, gateware=hashlib.sha256(blank.encode()).digest()[:8])
