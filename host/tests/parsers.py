"""Everything on the host that reads what others have written, as functions of bytes; with good inputs to begin from.

A reader may give a value or one of its documented errors. Any other exception is a finding, and so is a value that
does not say the same when it is written again. `fuzz.py` tries them under libFuzzer, `test_parsers.py` a few.
"""

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from ringpair.bridge import TcpEnd
from ringpair.cli import noise
from ringpair.errors import ProtocolError, RegistryError, RingpairError, UsageError
from ringpair.events import parse_event
from ringpair.measure.dataset import DataError, InMemory
from ringpair.measure.layout import read_layout
from ringpair.measure.readers import open_files
from ringpair.measure.table import write_parquet
from ringpair.messages import parse, to_text
from ringpair.registry import Registry, export, import_backup
from ringpair.silicon import SiliconError, _load
from ringpair.virtual.control import ControlPort
from ringpair.virtual.state import BoardFolder
from ringpair_boards.asc import Bitstream
from ringpair_protocol import admin, ascon, characterize, frames, pairing, puf, records
from ringpair_protocol.label import Label
from ringpair_protocol.ppake import Party, PeerRecord

from host.tests.rig_registry import SECRECY, entry
from protocol.tests.rig import IDENTITY

Errors = type[Exception] | tuple[type[Exception], ...]


@dataclass(frozen=True)
class Parser:
    """Something that reads bytes.

    Attributes
    ----------
    read
        Raises one of ``errors``, or nothing.
    seeds
        Good inputs.
    cost
        About how many times slower than a short function; it is tried so many times less.
    """

    read: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    errors: Errors = ()
    cost: int = 1


PARSERS: dict[str, Parser] = {}


def parser(name: str, seeds: Callable[[], list[bytes]], errors: Errors = (), cost: int = 1) -> Callable:
    """A function that reads bytes."""

    def register(read: Callable[[bytes], object]) -> Callable[[bytes], object]:
        PARSERS[name] = Parser(read, seeds, errors, cost)
        return read

    return register


def attempt(name: str, data: bytes) -> bool:
    """Read it; whether it was taken. Raises what is a finding."""
    found = PARSERS[name]
    try:
        found.read(data)
    except found.errors as error:
        told = str(error).strip()
    else:
        return True
    assert told or found.errors is ascon.WrongTag, f"{name}: an error that says nothing"
    return False


@cache
def place() -> Path:
    """A folder for files to read; it goes when the process ends."""
    place.folder = tempfile.TemporaryDirectory(prefix="ringpair-parsers-")
    return Path(place.folder.name)


def as_file(data: bytes, suffix: str) -> Path:
    path = place() / f"input{suffix}"
    path.write_bytes(data)
    return path


# ---------------------------------------------------------------------------------------------------- the line


@parser("frames", lambda: [frames.encode(b"\x01"), frames.encode(bytes(126)), frames.encode(bytes(range(1, 99)))])
def read_frames(data: bytes) -> None:
    """In pieces or at once the same; what is taken is short enough, and makes the same frame again."""
    whole = frames.Decoder().feed(data)
    pieces = frames.Decoder()
    assert whole == [item for byte in data for item in pieces.feed(bytes([byte]))]
    for payload in whole:
        if isinstance(payload, bytes):
            assert frames.Decoder().feed(frames.encode(payload)) == [payload]


EVENTS = [
    bytes([admin.Event.SESSION, 0, 3, 1, 0, 0, 0]) + bytes(8),
    bytes([admin.Event.FAILED, admin.Code.TIMED_OUT, 1]),
    bytes([admin.Event.PEER_OUT]) + bytes(33),
    bytes([admin.Event.TEXT]) + b"text",
    bytes([admin.Event.STARTED]) + IDENTITY.to_bytes(),
    bytes([admin.Event.CLOSED, admin.Code.SUPERSEDED]),
    bytes([admin.Event.RESET_DONE]),
]
parser("events of a device", lambda: EVENTS, ProtocolError)(parse_event)


@parser("identity of a device", lambda: [IDENTITY.to_bytes()], ValueError)
def read_identity(data: bytes) -> None:
    identity = admin.Identity.from_bytes(data)
    assert admin.Identity.from_bytes(identity.to_bytes()) == identity


@parser("status of a device", lambda: [bytes(18), bytes([2, 1]) + bytes(16)], ValueError)
def read_status(data: bytes) -> None:
    status = admin.Status.from_bytes(data)
    assert admin.Status.from_bytes(status.to_bytes()) == status


parser("counts of the characterization", lambda: [bytes(80)], ValueError)(characterize.parse_readings)


@parser("datagrams of a bridge", lambda: [bytes([3, 1, 2, 3, 1, 9]), bytes([33]) + bytes(33)])
def read_stream(data: bytes) -> None:
    """The TCP end cuts its stream into messages; none is longer than its length says, none is lost."""
    end = TcpEnd.__new__(TcpEnd)
    end._buffer = data
    cut = []
    while (message := end._cut()) is not None:
        cut.append(bytes([len(message)]) + message)
    assert b"".join(cut) + end._buffer == data


# ---------------------------------------------------------------------------------------------------- the protocol


class OnePeer:
    """A store with one pairing, for a party."""

    def __init__(self) -> None:
        self.record = PeerRecord(0, True, 0, bytes(32), bytes(16))

    def live(self) -> list[PeerRecord]:
        return [self.record]

    def load(self, number: int) -> PeerRecord:
        return self.record

    def commit(self, record: PeerRecord) -> None:
        raise AssertionError("an epoch was used up for bytes that nobody has authenticated")


MESSAGES = [bytes([header]) + bytes(length - 1) for header, length in ((0x11, 33), (0x12, 33), (0x13, 17), (0x14, 17))]


@parser("messages of the peer", lambda: [*MESSAGES, bytes([0x18]) + bytes(24)])
def read_message(data: bytes) -> None:
    """While idle, while an M1 is out: no answer, nothing raised, nothing written."""
    party = Party(OnePeer(), lambda: bytes(16))
    assert party.receive(data, 0) == []
    party.connect(0, 0)
    run = party.run
    assert party.receive(data, 0) == []
    assert party.run is run


PUZZLE = pairing.seal(0x41, 1, b"somebody", entry(1), bytes(32))


@parser("sealed messages", lambda: [PUZZLE], ascon.WrongTag)
def read_sealed(data: bytes) -> None:
    to = entry(1)
    text = pairing.unseal(data, to.wrap_key, to.device_id)
    assert pairing.seal(data[0], data[1], data[6:14], to, text) == data


@parser("E2 of an enrollment", lambda: [bytes([0x52]) + bytes(40)], ValueError)
def read_e2(data: bytes) -> None:
    made, _ = pairing.finish_enrollment(bytes(16), data)
    assert data[1:] == made.device_id + made.wrap_key


@parser("records in flash", lambda: [bytes(64)], ascon.WrongTag)
def read_records(data: bytes) -> None:
    slot = data[: records.DEVICE_SLOT_LENGTH].ljust(records.DEVICE_SLOT_LENGTH, b"\0")
    assert not records.open_device(bytes(16), slot), "a record that nobody sealed opens"


@parser("helper data", lambda: [bytes(72), bytes(range(72))])
def read_helper(data: bytes) -> None:
    """Whatever it is: bits and margins, from which the search makes candidates."""
    helper = data[:72].ljust(72, b"\0")
    bits, margins = puf.Quantizer().reconstruct([2300] * puf.RINGS, helper)
    assert len(bits) == 24
    assert next(puf.candidates(bits, margins, 1)) == bits


# ---------------------------------------------------------------------------------------------------- files


@parser("puzzles and revocations", lambda: [PUZZLE, to_text(PUZZLE).encode()], UsageError)
def read_puzzle(data: bytes) -> None:
    assert parse(to_text(parse(data, "a file")).encode(), "a file") == parse(data, "a file")


LABEL = Label(b"deviceid", "12345678").to_text()


@parser("labels", lambda: [LABEL.encode(), LABEL.rpartition(":")[0].encode()], ValueError)
def read_label(data: bytes) -> None:
    """The text of a QR code; a label without its checksum gets the right one, which no fuzzer finds."""
    text = data.decode("utf-8", errors="replace").strip().upper()
    if text.count(":") == 2:
        text += f":{frames.crc16(text.encode()):04X}"
    label = Label.from_text(text)
    assert Label.from_text(label.to_text()) == label
    assert len(label.device_id) == 8
    assert label.pin.isdigit()
    assert 6 <= len(label.pin) <= 12


def measurements() -> InMemory:
    return InMemory(np.arange(2 * 3 * 4, dtype=np.int64).reshape(2, 3, 4) + 1000, ["a", "b"], name="seed")


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def hdf5() -> bytes:
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w") as data:
        data["data/ro_counts"] = np.ones((1, 2, 1, 3, 4), np.int32)
        data["axis/temperature"] = np.array([25.0])
        data["axis/evaluation_time"] = np.array([1])
        data["axis/board"] = np.array([b"one", b"two"])
    return file.getvalue()


def parquet() -> bytes:
    path = place() / "seed.parquet"
    write_parquet(path, measurements())
    return path.read_bytes()


def read_measurements(data: bytes, suffix: str) -> None:
    """Open it and go through all of it; chips, rings and reads are as many as it says."""
    found = open_files([as_file(data, suffix)])
    chips = 0
    for batch in found.batches():
        assert batch.values.shape[-2:] == (found.rings, found.reads)
        chips += len(batch.ids)
    assert chips == found.chips


CSV = b"# rings\n1000, 1001\n1002, 1003\n"
parser("measurements in CSV", lambda: [CSV, b"1.5;2\n3;4\n"], DataError, 4)(
    lambda data: read_measurements(data, ".csv")
)
parser("measurements in NPZ", lambda: [npz(freq_hz=np.ones((2, 3, 4)), chip_id=np.arange(2))], DataError, 20)(
    lambda data: read_measurements(data, ".npz")
)
parser("measurements in HDF5", lambda: [hdf5()], DataError, 50)(lambda data: read_measurements(data, ".h5"))
parser("measurements in Parquet", lambda: [parquet()], DataError, 50)(lambda data: read_measurements(data, ".parquet"))


LAYOUT = json.dumps(
    {
        "kind": "ringpair layout table",
        "level": 1,
        "version": 1,
        "sigma_ppm": 4900,
        "entries": [0] * puf.RINGS,
        "chips": 3,
        "silicon": "modeled",
        "floorplan": "0" * 16,
        "cross_validation": {},
    }
).encode()


@parser("layout tables", lambda: [LAYOUT], DataError, 4)
def read_layout_table(data: bytes) -> None:
    read_layout(as_file(data, ".json"))


parser("silicon of a virtual board", lambda: [npz(freq_hz=np.ones((1, puf.RINGS, 1)))], SiliconError, 20)(
    lambda data: _load(as_file(data, ".npz"))
)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


parser("noise as NumPy array", lambda: [npy(np.zeros(2000, np.uint8)), npy(np.zeros((2, 3), bool))], RingpairError, 8)(
    lambda data: noise._matrix(as_file(data, ".npy"), None, 1000)
)
parser("noise as bytes", lambda: [bytes(125)], RingpairError, 4)(
    lambda data: noise._matrix(as_file(data, ".bin"), None, 1000)
)


@parser("silicon.json of a virtual board", lambda: [b'{"seed": 1, "plain": false}'], (RingpairError, ValueError), 6)
def read_board(data: bytes) -> None:
    folder = BoardFolder("fuzzed", place())
    folder.path.mkdir(parents=True, exist_ok=True)
    (folder.path / "silicon.json").write_bytes(data)
    folder.silicon()


@parser("bitstreams", lambda: [b".device 5k\n.logic_tile 1 1\n0101\n1010\n.ram_data 1 1\n"], ValueError)
def read_bitstream(data: bytes) -> None:
    Bitstream.parse(data.decode("utf-8", errors="replace"))


@parser("requests to a virtual board", lambda: [b'{"do": "status"}', b'{"do": "press", "seconds": 1}'])
def read_request(data: bytes) -> None:
    """Always an answer; here of a board that refuses everything."""
    answer = ControlPort._answer(SimpleNamespace(do_status=dict), data)
    json.dumps(answer)


# ---------------------------------------------------------------------------------------------------- the registry


@cache
def registry_file() -> bytes:
    path = place() / "seed.sqlite"
    with Registry(path, SECRECY) as registry:
        for number, name in enumerate(("alice", "bob"), start=1):
            registry.add(entry(number), name, IDENTITY)
            registry.confirm(name)
        registry.pair("alice", "bob")
    return path.read_bytes()


@cache
def empty_registry() -> bytes:
    path = place() / "empty.sqlite"
    with Registry(path, SECRECY) as registry:
        registry.unlock()
    return path.read_bytes()


@cache
def backup_file() -> bytes:
    path = place() / "seed.backup"
    registry_file()
    with Registry(place() / "seed.sqlite", SECRECY) as registry:
        export(registry, path, "b", cost=10)
    return path.read_bytes()


@parser("registries", lambda: [registry_file()], RegistryError, 400)
def read_registry(data: bytes) -> None:
    """Everything that only reads."""
    with Registry(as_file(data, ".sqlite"), SECRECY) as registry:
        for device in registry.devices():
            if device.wrap_key:
                registry.entry(device)
        registry.pairings()
        registry.outbox(everything=True)


@parser("backups of a registry", lambda: [backup_file()], RegistryError, 400)
def read_backup(data: bytes) -> None:
    """Into an empty registry, which stays whole."""
    path = place() / "empty.sqlite"
    path.write_bytes(empty_registry())
    with Registry(path, SECRECY) as registry:
        import_backup(registry, as_file(data, ".backup"), "b")
        registry.devices()
