"""The characterization gateware, compiled, with its host driver on the port."""

import json
import random
import threading
import time

import numpy as np
import pytest
from ringpair.characterize import Characterizer
from ringpair.cli import main
from ringpair.errors import ProtocolError, Refused, UsageError
from ringpair.virtual import Design, NoiseSource, RingModel, RingReads, VirtualBoard, build
from ringpair.virtual.device import SimulatedDevice, default_rings
from ringpair.virtual.parameters import Parameters
from ringpair_protocol import puf
from ringpair_protocol.admin import Code, Profile

from host.tests.model_board import ModelBoard

DESIGN = Design("ringpair_boards.virtual_characterize:virtual_characterize")


class DevicePort:
    """A board in this process as a transport: it runs while somebody reads."""

    name = "simulated"

    def __init__(self, device):
        self.device, self.turn = device, threading.Lock()

    def read(self, timeout):
        time.sleep(0.0005)  # let the writer have its turn
        with self.turn:
            self.device.run(20_000)
            return self.device.read()

    def write(self, data):
        with self.turn:
            self.device.write(data)

    def close(self):
        pass


@pytest.fixture(scope="module")
def library():
    return build(DESIGN)


@pytest.fixture
def board(library):
    with (
        SimulatedDevice(library, rings=default_rings(Parameters(), 5), noise=NoiseSource(one=0.25)) as device,
        Characterizer(DevicePort(device)) as board,
    ):
        yield board


def test_identity(board):
    assert board.identity.profile == Profile.CHARACTERIZE
    assert board.identity.simulated
    assert any(board.identity.gateware)
    assert board.window == 512


def test_counts(board):
    """The rings of the model, each under its number, to within the count that the phase decides."""
    expected = default_rings(Parameters(), 5).mean
    (counts, again) = board.counts_of_all(repeats=2)
    assert np.abs(np.array(counts) - expected).max() <= 1
    assert np.abs(np.array(again) - counts).max() <= 1
    place = random.Random(1).choice(puf.PLACES)
    reads = board.counts(place, repeats=32)
    assert len(reads) == 32
    for channel in range(puf.CHANNELS):
        values = [read[channel] for read in reads]
        assert abs(np.mean(values) - expected[puf.ring_number(channel, place)]) < 1


def reads_of(device, board, rings, window):
    """Reads of four rings in a window."""
    device.set_rings(rings)
    return np.array(board.counts(puf.PLACES[0], window, repeats=300))


def test_windows(library):
    """Counts follow the window; white noise averages over it, slow noise does not; the counter wraps at 16 bits."""
    mean = np.full(puf.RINGS, 2304.0)
    with SimulatedDevice(library) as device, Characterizer(DevicePort(device)) as board:
        for window in (128, 512, 2048, 8192):
            factor = window / 512
            white = reads_of(device, board, RingModel(mean, white=0.01), window)
            assert white.mean() == pytest.approx(2304 * factor, rel=0.003 / factor**0.5 + 1e-4)
            assert white.std() == pytest.approx(2304 * factor * 0.01 / factor**0.5, rel=0.15)
            slow = reads_of(device, board, RingModel(mean, slow=0.01, memory=0.0), window)
            assert slow.std() == pytest.approx(2304 * factor * 0.01, rel=0.15)
        assert device.status.window == 8192
        fast = reads_of(device, board, RingModel(mean), 65_535)
        assert np.abs(fast - (2304 * 65_535 / 512) % 65_536).max() <= 1
        replayed = reads_of(device, board, RingReads(np.array([[1000] * 192, [3000] * 192])), 256)
        assert set(replayed.ravel()) == {500, 1500}


def test_noise(board):
    raw = board.noise(6000)
    assert len(raw) == 6000
    assert raw[:4096] != raw[4096:]
    share = np.unpackbits(np.frombuffer(raw, dtype=np.uint8)).mean()
    assert abs(share - 0.25) < 0.012  # 6 standard deviations
    assert board.noise(1, interval=255) in [bytes([n]) for n in range(256)]


def test_usage(board):
    for wrong in (lambda: board.counts(24), lambda: board.counts(0, 0), lambda: board.counts(0, repeats=0)):
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(UsageError, match="interval must be 1"):
        board.noise(1, interval=256)


def test_has_no_other_commands(board):
    """Nothing of the pairing gateware answers here."""
    from ringpair_protocol.admin import Opcode

    for opcode in Opcode:
        if opcode not in (Opcode.NONE, Opcode.IDENTITY):
            with pytest.raises(Refused) as refusal:
                board._line.exchange(opcode, b"", 60)
            assert refusal.value.code == Code.UNKNOWN_COMMAND


def test_refuses_the_pairing_gateware():
    with ModelBoard("other") as other, pytest.raises(ProtocolError, match="expected the characterization gateware"):
        Characterizer.open(other.port)


def test_in_a_process(library, tmp_path, capsys):
    """Over a pseudo-terminal, with the silicon model; ``ringpair info`` knows it, other verbs say what it is."""
    with VirtualBoard("bench", library, base=tmp_path, silicon={"seed": 3}) as virtual:
        with Characterizer.open(virtual.port) as board:
            (counts,) = board.counts_of_all()
            gateware = board.identity.gateware.hex()
        assert main(["info", virtual.port, "--json"]) == 0
        out, err = capsys.readouterr()
        assert (json.loads(out)["profile"], json.loads(out)["gateware"]) == ("characterize", gateware)
        assert "no keys, no pairings and no status" in err
        for verb in (["peers", virtual.port], ["connect", virtual.port, "0"], ["send", virtual.port, "text"]):
            assert main(verb) == 3
            assert "expected the pairing gateware on" in capsys.readouterr().err
    assert all(1500 < count < 3500 for count in counts)
    assert len(set(counts)) > 50
