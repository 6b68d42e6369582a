"""The judgment of netlists: accidental loops, rings that are missing, the simulated source."""

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Const, Elaboratable, Instance, Module, Signal
from ringpair_boards import tools
from ringpair_boards.blocks import cells_per_block
from ringpair_boards.netlist import Netlist, ring_names
from ringpair_hdl.puf.ring_array import UP5K, Floorplan, PhysicalRings
from ringpair_hdl.puf.rings import SimulatedRings
from ringpair_hdl.puf.tile import RING_ATTRIBUTE

SMALL = Floorplan("small", "up5k", x=7, y=6, channel_columns=1, channel_rows=1)


def synthesize(design, folder, ports=()):
    """The netlist of a design, by the same steps as a build."""
    (folder / "top.il").write_text(rtlil.convert(design, name="top", ports=ports))
    script = ["read_rtlil top.il", "proc", 'setattr -set BLOCK "top" top/t:*dff*', "synth_ice40 -device u -top top"]
    tools.run("yosys", "-q", "-p", "; ".join([*script, "write_json top.json"]), folder=folder)
    return Netlist.read(folder / "top.json")


class Design(Elaboratable):
    """`statements(m, i)` returns what drives the output."""

    def __init__(self, statements):
        self.statements = statements
        self.i, self.o = Signal(4, name="i"), Signal(4, name="o")
        self.ports = [self.i, self.o]

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.statements(m, self.i))
        return m


def lut(m, name, source, target, **attributes):
    """An inverter that synthesis leaves alone."""
    m.submodules[name] = Instance(
        "SB_LUT4",
        p_LUT_INIT=Const(0x5555, 16),
        a_keep=1,
        i_I0=source,
        i_I1=0,
        i_I2=0,
        i_I3=0,
        o_O=target,
        **{f"a_{name}": value for name, value in attributes.items()},
    )


def three_stages(names):
    """A ring of three inverters that carry these ring names."""

    def statements(m, i):
        nets = [Signal(name=f"n{k}", attrs={"keep": 1}) for k in range(3)]
        for k, name in enumerate(names):
            lut(m, f"lc{k}", nets[k - 1], nets[k], **({RING_ATTRIBUTE: name} if name else {}))
        return nets[0] & i[0]

    return statements


def logic_loop(m, i):
    """A loop over ordinary logic and one cell that synthesis, like Amaranth, cannot look into."""
    back, loop = Signal(name="back"), Signal(name="loop")
    lut(m, "lc0", loop, back)
    m.d.comb += loop.eq(back & i[0] ^ i[1])
    return loop


def adder_loop(m, i):
    """A loop over a carry chain."""
    back, total = Signal(name="back"), Signal(4, name="total")
    lut(m, "lc0", total[3], back)
    m.d.comb += total.eq(back.replicate(3) + i)
    return total


UNNAMED, MIXED = three_stages([None] * 3), three_stages(["a", "a", "b"])


@pytest.mark.parametrize("statements", [logic_loop, adder_loop, UNNAMED, MIXED])
def test_accidental_loops(tmp_path, statements):
    design = Design(statements)
    problems = list(synthesize(design, tmp_path, design.ports).problems(set()))
    assert any("combinational loop that is not a named ring" in problem for problem in problems), problems


def test_named_ring(tmp_path):
    design = Design(three_stages(["noise"] * 3))
    netlist = synthesize(design, tmp_path, design.ports)
    assert len(netlist.loops()) == 1
    assert list(netlist.problems(set())) == []
    assert list(netlist.problems({"noise"})) == []
    assert list(netlist.problems({"noise", "X7/Y6/a"})) == ["1 rings are not in the netlist or do not close: X7/Y6/a"]


def test_ring_that_does_not_close(tmp_path):
    def statements(m, i):
        out = Signal(name="out")
        lut(m, "lc0", i[0], out, **{RING_ATTRIBUTE: "open"})
        return out

    design = Design(statements)
    problems = list(synthesize(design, tmp_path, design.ports).problems(set()))
    assert problems == ["named rings that do not close: open"]


def test_registers_break_loops(tmp_path):
    def statements(m, i):
        count = Signal(4)
        m.d.sync += count.eq(count + i)
        return count

    design = Design(statements)
    netlist = synthesize(design, tmp_path, design.ports)
    assert netlist.loops() == []
    assert list(netlist.problems(set())) == []
    assert cells_per_block(netlist) == {"(top)": 4}


@pytest.fixture(scope="module")
def small_array(tmp_path_factory):
    return synthesize(PhysicalRings(SMALL), tmp_path_factory.mktemp("small"))


def test_the_array_is_its_rings(small_array):
    """Eight loops of three cells each, by the names of the floorplan, and no other."""
    assert sorted(map(len, small_array.loops())) == [3] * 8
    assert list(small_array.problems(ring_names(SMALL))) == []
    assert not small_array.simulated


def test_rings_elsewhere(small_array):
    (problem,) = small_array.problems(ring_names(UP5K))
    assert problem.startswith("184 rings are not in the netlist or do not close: X10/Y10/a, ")


class Simulated(Elaboratable):
    """The simulated source where a chip has rings, with nothing that names it but itself."""

    def __init__(self):
        self.count = Signal(16)

    def elaborate(self, platform):
        m = Module()
        m.submodules.rings = rings = SimulatedRings()
        m.d.comb += [rings.row.eq(ClockSignal()), rings.ring_count0.eq(0x1234), self.count.eq(rings.count[0])]
        return m


def test_simulated_source(tmp_path):
    design = Simulated()
    netlist = synthesize(design, tmp_path, [design.count])
    assert netlist.simulated
    assert "the simulated source of ring counts is in the netlist: it must never be on a chip" in netlist.problems(
        set()
    )
