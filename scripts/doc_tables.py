"""The tables of the documents, made from the code: a layout, a code or a constant is written in one place only.

    python scripts/doc_tables.py              # write them into docs/*.md
    python scripts/doc_tables.py --check      # only say which are out of date; exit code 1 if any is
    python scripts/doc_tables.py messages     # print one

A document holds a table between two lines::

    <!-- table: messages -->
    ...
    <!-- end of table -->

`protocol/tests/test_docs.py` fails when a document and the code differ.
"""

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from board_tables import TABLES as BOARD_TABLES
from board_tables import table
from claim_tables import TABLES as CLAIM_TABLES
from ringpair_protocol import admin, binding, channel, derivations, device, frames, health, messages, nor, puf, records
from ringpair_protocol.layout_table import LAYOUT_ENTRIES

ROOT = Path(__file__).resolve().parent.parent
SEQUENCER = "hdl/ringpair_hdl/control/README.md"
DOCUMENTS = (
    *("README.md", "docs/guide.md", "docs/architecture.md", "docs/protocol.md", "docs/puf.md", SEQUENCER),
    *("docs/boards.md", "docs/bench-guide.md", "docs/resources.md", "docs/proofs.md", "docs/threat-model.md"),
)
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # for the tables that `formal` has
MARKED = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def words(name: str) -> str:
    """``tag_1`` as tag1, ``device_id`` as device id."""
    return re.sub(r"_(\d)", r"\1", name).replace("_", " ")


def fields(pairs: Iterable[tuple[str, int]]) -> str:
    """``name length ‖ name length``, with words instead of identifiers."""
    return " ‖ ".join(f"{words(name)} {length}" for name, length in pairs)


def layout(pairs: Iterable[tuple[str, int]]) -> str:
    """Offset, length and name of each field."""
    rows, offset = [], 0
    for name, length in pairs:
        rows.append((offset, length, words(name)))
        offset += length
    return table(("offset", "bytes", "field"), [*rows, ("", f"**{offset}**", "in all")])


def hexadecimal(value: int, digits: int = 2) -> str:
    return f"`{value:#0{digits + 2}x}`"


def derivation_table() -> str:
    """One row a key or tag: the table that reference model and gateware interpret."""
    rows = ((f"`{row.label.decode()}`", fields(row.inputs), fields(row.outputs)) for row in derivations.TABLE)
    return table(("label", "input", "output"), rows)


MESSAGES = (
    ("M1", "initiator → responder", "nonce I 16 ‖ tag T1 16"),
    ("M2", "responder → initiator, after its commit", "nonce R 16 ‖ tag T2 16"),
    ("M3", "initiator → responder, after its commit", "tag T3 16"),
    ("RESYNC", "responder → initiator: “you are one epoch behind”", "tag 16"),
    ("DATA", "both ways", "counter 4 ‖ ciphertext ‖ tag 16"),
    ("E1", "host → device, its button held", "nonce S 16"),
    ("E2", "device → host, over the local line", "device id 8 ‖ wrap key 32"),
    ("E3", "host → device, which then commits", "tag 16"),
    ("PUZZLE", "registry → device", "flags 1 ‖ index 4 ‖ peer id 8 ‖ ciphertext 32 ‖ tag 16"),
    ("REVOKE", "registry → device", "flags 1 ‖ index 4 ‖ peer id 8 ‖ tag 16"),
    ("RESET", "registry → device", "flags 1 ‖ index 4 ‖ own id 8 ‖ tag 16"),
    ("B1", "controller → device", "sid 16 ‖ Ya 32"),
    ("B2", "device → controller, a try is used up", "Yb 32 ‖ tag Tb 16"),
    ("B3", "controller → device", "tag Ta 16 ‖ ciphertext 96 ‖ tag 16"),
    ("B4", "device → controller, its record is written", "ciphertext 96 ‖ tag 16"),
    ("S1", "controller → device", "hint 1 ‖ X 32"),
    ("S2", "device → controller", "Y 32 ‖ ciphertext 64 ‖ tag 16"),
    ("S3", "controller → device", "ciphertext 64 ‖ tag 16"),
)


def message_table() -> str:
    """Header byte and length; the lengths of the described fields have to add up to the latter."""
    rows = []
    for name, way, body in MESSAGES:
        header = getattr(messages, name)
        if header == messages.DATA:
            length = f"{messages.DATA_OVERHEAD + 1} to {messages.DATA_OVERHEAD + messages.TEXT_MAX}"
        else:
            length = str(messages.LENGTHS[header])
            described = 1 + sum(int(part.split()[-1]) for part in body.split(" ‖ "))
            if described != messages.LENGTHS[header]:
                raise ValueError(f"{name} has {length} bytes, its fields {described}: correct MESSAGES")
        rows.append((name, hexadecimal(header), length, way, f"header 1 ‖ {body}"))
    return table(("message", "header", "bytes", "way", "fields"), rows)


REPLIES = {
    admin.Opcode.IDENTITY: f"identity {admin.IDENTITY_LENGTH}",
    admin.Opcode.STATUS: f"status {admin.STATUS_LENGTH}",
    admin.Opcode.ENROLL: "E2",
    admin.Opcode.ENROLL_CONFIRM: "device id 8",
    admin.Opcode.IMPORT: "peer number 1, 0xff for a reset",
    admin.Opcode.PEER: f"state 1 ‖ header {records.HEADER_LENGTH} ‖ epoch 4",
    admin.Opcode.CONNECT: "–, later the event SESSION or FAILED",
    admin.Opcode.CONTROLLER_IN: "B2, S2, DATA or –",
    admin.Opcode.CONTROLLER_REST: "B4",
    admin.Opcode.PIN: f"{binding.PIN_DIGITS} digits, each 0 to 7",
    admin.Opcode.BINDINGS: f"wrong tries 1 ‖ {records.MAX_CONTROLLERS} service ids 8 (zero: a free place)",
}
BODIES = {
    admin.Opcode.ENROLL: "E1",
    admin.Opcode.ENROLL_CONFIRM: "E3",
    admin.Opcode.IMPORT: "puzzle, revocation or reset",
    admin.Opcode.PEER: "peer number 1",
    admin.Opcode.CONNECT: "peer number 1 ‖ carrier 1 (0 wire, 1 tunnel)",
    admin.Opcode.SEND: "text",
    admin.Opcode.PEER_IN: "one peer message",
    admin.Opcode.CONTROLLER_IN: "B1, S1, S3, DATA, or header and Ta of a B3",
    admin.Opcode.CONTROLLER_REST: "the rest of the B3",
    admin.Opcode.PIN: "kind 1 (0 dynamic, 1 preset, 2 dynamic on the display)",
}


def command_table() -> str:
    rows = []
    for opcode, allowed in (device.LENGTHS_OF_BODY | device.BINDING_LENGTHS).items():
        lengths = sorted(allowed)
        span = f"{lengths[0]} to {lengths[-1]}" if len(lengths) > 2 else " or ".join(map(str, lengths))
        state = device.STATE_NEEDED.get(opcode)
        needed = state.name.lower() if state is not None else "any"
        body = BODIES.get(opcode, "–")
        rows.append((opcode.name, hexadecimal(opcode), span, body, needed, REPLIES.get(opcode, "–")))
    return table(("command", "opcode", "body bytes", "body", "state", "body of the reply when OK"), rows)


EVENTS = {
    admin.Event.STARTED: ("the identity", "once after power-up"),
    admin.Event.SESSION: ("role 1 ‖ peer 1 ‖ epoch 4 ‖ session id 8", "a session is open; `epoch` is the one used up"),
    admin.Event.FAILED: (
        "code 1 ‖ peer 1",
        "a handshake that this device began came to nothing; or, with peer 0xff, a reset",
    ),
    admin.Event.PEER_OUT: ("one peer message", "to be carried to the other board"),
    admin.Event.TEXT: ("text", "what the peer said"),
    admin.Event.CLOSED: ("code 1", "the session has ended"),
    admin.Event.RESET_DONE: ("–", "after a factory reset by the button"),
    admin.Event.CONTROLLER_TEXT: ("place 1 ‖ text", "what a controller said"),
}


def event_table() -> str:
    return table(
        ("event", "kind", "body", "meaning"), ((kind.name, hexadecimal(kind), *EVENTS[kind]) for kind in admin.Event)
    )


def code_table() -> str:
    rows = ((code.name, hexadecimal(code), admin.EXPLANATION[code]) for code in admin.Code)
    return table(("code", "value", "what it says"), rows)


def flash_table() -> str:
    journal = f"journal: {records.JOURNAL_SECTORS} sectors of {records.SECTOR} bytes"
    last = records.peer_journal(records.MAX_PEERS - 1)
    rows = (
        (hexadecimal(records.DEVICE_BASE, 6), f"one sector, {records.PLAIN_LENGTH} bytes used", "plain device record"),
        (hexadecimal(records.DEVICE_JOURNAL, 6), journal, f"device slots of {records.DEVICE_SLOT_LENGTH} bytes"),
        (hexadecimal(records.PEER_BASE, 6), journal, f"peer 0, slots of {records.PEER_SLOT_LENGTH} bytes"),
        ("…", f"every {hexadecimal(records.JOURNAL_STRIDE, 4)}", "peers 1 to 14"),
        (hexadecimal(last, 6), journal, f"peer {records.MAX_PEERS - 1}"),
        (hexadecimal(records.STORE_END, 6), "", "end of a device that is not bound"),
        (hexadecimal(records.CONTROLLER_BASE, 6), journal, "controller 0, as a peer"),
        ("…", f"every {hexadecimal(records.JOURNAL_STRIDE, 4)}", f"controllers 1 to {records.MAX_CONTROLLERS - 1}"),
        (hexadecimal(records.BINDING_END, 6), "", "end"),
    )
    return table(("address", "what", "for"), rows)


def slot_table() -> str:
    rows = (
        ("sector header of a peer", fields((("peer id", 8), ("pair index", 2), ("flags", 1), ("version", 1)))),
        ("sector header of the device", f"the {len(records.DEVICE_HEADER)} letters `{records.DEVICE_HEADER.decode()}`"),
        (
            "sector header of a controller",
            fields((("service id", 8), ("pair index", 2), ("flags", 1), ("version", 1))),
        ),
        ("peer slot", f"epoch 4 ‖ sealed( {fields(records.PEER_SECRET_FIELDS)} ) ‖ tag 16"),
        ("controller slot", "number 4, zero ‖ sealed( service key 32 ‖ 0^16 ) ‖ tag 16"),
        ("device slot", f"number 4 ‖ sealed( {fields(records.DEVICE_SECRET_FIELDS)} ) ‖ tag 16"),
    )
    return table(("what", "bytes"), rows)


def limit_table() -> str:
    slots = records.SLOTS_PER_SECTOR
    resync = messages.LENGTHS[messages.M1] + messages.LENGTHS[messages.RESYNC] + messages.HANDSHAKE_BYTES
    commits = 100_000 * slots * records.JOURNAL_SECTORS
    rows = (
        ("pairings of a device", records.MAX_PEERS),
        ("services that a device is bound to", records.MAX_CONTROLLERS),
        ("binding", f"{messages.BINDING_BYTES} bytes in 4 messages"),
        ("opening of a controller's session", f"{messages.OPENING_BYTES} bytes in 3 messages"),
        ("wrong PINs until only the button helps", binding.PIN_TRIES),
        ("a dynamic PIN is good for", f"{binding.PIN_SECONDS} s, one B2"),
        ("handshake on the wire", f"{messages.HANDSHAKE_BYTES} bytes in 3 messages"),
        ("handshake after a lost M2", f"{resync} bytes in 5 messages"),
        ("flash of a pairing", f"{records.STORED_PER_PEER} bytes: header and two slots"),
        ("slots of a sector", f"{slots}: {records.SLOTS_PER_PAGE} a page, {records.PAGES_PER_SECTOR} pages"),
        ("sessions of a pairing until the flash has 100 000 erases", f"{commits:.1e}"),
        ("last epoch", f"2^32 − {2**32 - messages.MAX_EPOCH}; then EXHAUSTED"),
        ("last data counter", f"2^32 − {2**32 - channel.MAX_COUNTER}; then EXHAUSTED"),
        ("text of one data message", f"1 to {messages.TEXT_MAX} bytes"),
        ("payload of a frame", f"1 to {frames.MAX_PAYLOAD} bytes"),
        ("initiator waits for M2", f"{messages.INITIATOR_TIMEOUT_S}, then 4, then 8 s: {messages.INITIATOR_TRIES} M1"),
        ("responder waits for M3", f"{messages.RESPONDER_TIMEOUT_S} s"),
        ("restarts by RESYNC in one run", messages.MAX_RESYNC),
        ("device waits for E3", f"{device.ENROLL_TIMEOUT_MS // 1000} s"),
        ("steps along the chain of wrap keys", messages.MAX_FORWARD),
        ("tries of the search for the PUF's bits", f"{puf.SEARCH_BUDGET} (at most {puf.MAX_BUDGET})"),
        ("line rate of both ports", f"{admin.BAUD} baud, 8 data bits, no parity, 1 stop bit"),
        ("flash commands used", ", ".join(f"{hexadecimal(c)} {c.name.lower()}" for c in nor.Command)),
    )
    return table(("limit", "value"), rows)


def puf_table() -> str:
    levels = ", ".join(f"{value / puf.LEVEL_UNIT:+.3f}" for value in puf.THRESHOLDS)
    rows = (
        ("rings", f"{puf.RINGS}, of which {puf.CHANNELS} run at once"),
        ("rings that share a mean", puf.ROW),
        ("window", f"{puf.window_clocks(12_000_000)} clocks at 12 MHz, {puf.window_clocks(24_000_000)} at 24 MHz"),
        ("reads at enrollment", puf.ENROLL_READS),
        ("spread that the quantizer expects (sigma)", f"{puf.SIGMA_PPM / 10_000:g} %"),
        ("helper data", f"{puf.HELPER_BITS} bits a ring, {puf.HELPER_BYTES} bytes"),
        ("thresholds, in sigma, by helper value", levels),
        ("margin of a ring", f"0 to {puf.MARGIN_MAX}"),
        ("tries of the search", puf.SEARCH_BUDGET),
        (
            "layout table",
            f"real boards: version {puf.LAYOUT_VERSION} (none); modeled boards: version {puf.MODELED_LAYOUT.version}",
        ),
    )
    return table(("what", "value"), rows)


def noise_table() -> str:
    rows = (
        ("claimed min-entropy of a raw bit", f"{health.ENTROPY} bit"),
        ("false alarms of a test", f"2^−{health.ALPHA_BITS}"),
        ("repetition count test", f"alarm at {health.repetition_cutoff()} equal bits in a row"),
        ("adaptive proportion test", f"alarm at {health.proportion_cutoff()} of {health.WINDOW} equal to the first"),
        ("start-up test", f"both tests over the first {health.WINDOW} bits, which are not used"),
        ("conditioner", f"{fields(derivations.RANDOM.inputs)} → {fields(derivations.RANDOM.outputs)}"),
    )
    return table(("what", "value"), rows)


def silicon_table() -> str:
    """The numbers of the silicon model; needs numpy."""
    from ringpair import silicon as s

    layout_spread = (sum(e * e for e in LAYOUT_ENTRIES) / puf.RINGS) ** 0.5 / 2**puf.FRACTION_BITS
    rows = (
        ("nominal frequency behind the divider", f"{s.F0 / 1e6:g} MHz"),
        ("board to board", f"{s.BOARD:.1%}"),
        ("layout pattern, the same on all boards", f"{layout_spread:.2%}"),
        (
            "smooth field over a chip",
            f"{s.FIELD:.2%}, correlation length {s.CORRELATION_TILES:g} tiles; slope {s.TILT:.2%}",
        ),
        ("ring to ring: what the PUF lives on", f"{s.RANDOM:.2%}"),
        ("noise of a read", f"white {s.WHITE_NOISE:.3%}, slow {s.SLOW_NOISE:.3%}"),
        (
            "temperature, from 25 °C",
            f"{s.TEMPERATURE:+.2%} a kelvin; rings differ by {s.TEMPERATURE_RING:.4%} a kelvin",
        ),
        (
            "core voltage, from 1.2 V",
            f"{s.VOLTAGE / 10:+.0%} for +0.1 V; rings differ by {s.VOLTAGE_RING / 10:.3%} for 0.1 V",
        ),
        (f"age of {s.AGE_YEARS:g} years", f"{s.AGE:+.0%}; rings differ by {s.AGE_RING:.3%}"),
    )
    return table(("part of a ring's frequency", "spread or coefficient in the model"), rows)


def secret_table() -> str:
    """Which fields of the scratchpad are secret, and when they are wiped; needs Amaranth."""
    from ringpair_hdl.program import Memory

    memory = Memory(admin.Identity(admin.Profile.PAIR, True, 12, bytes(8), bytes(8), 0))
    operation, session = memory.operation_secrets, memory.session_secrets
    rows = []
    for field in memory.pad.fields.values():
        if field.secret:
            when = "at the end of every operation" if field in operation else "when the enrollment ends"
            when = "when the session or the run ends" if field in session else when
            rows.append((f"`{field.name}`", field.length, when))
    return table(("field", "bytes", "wiped"), rows)


INSTRUCTIONS = {
    "BRANCH": ("2", "go to a place in the same page of 256 bytes if a condition holds, or if it does not"),
    "SKIP": ("2", "1 to 8 bytes forward on ZERO or CARRY, or their contrary"),
    "JUMP": ("2", "go anywhere"),
    "CALL": ("3", "the way back goes on the return stack"),
    "VECTOR": ("5", "CALL of one of the most frequent routines, in one byte"),
    "MOVE": (
        "7 + length, 11 + length with two fields, LESS 12 + 2 · length",
        "a run of bytes: GIVE, TAKE, CHECK, CRYPT, or COPY, LESS, …",
    ),
    "BYTE": ("4, 5 with an address", "{ops} with a constant, on one byte of the scratchpad"),
    "DERIVE": ("15", "start the sponge with a label of the table: one row of the derivations"),
    "RETURN_IF": ("2", "RETURN if a condition holds, or if it does not: {returns}"),
    "STROBE": ("2", "{strobes}"),
    "SELECT": ("2", "chip select of the flash; which frame port is meant"),
    "OPERAND": ("2", "a value to {operands}"),
}
"""Cycles and meaning, by the name in ``isa.Base``."""


def instruction_table() -> str:
    """Every kind of instruction with its opcodes; needs Amaranth."""
    from ringpair_hdl.control import isa

    lists = {"ops": isa.Op, "strobes": isa.Strobe, "operands": isa.Operand, "returns": isa.RETURN_CONDITIONS}
    names = {key: ", ".join(member.name for member in members) for key, members in lists.items()}
    bases = list(isa.Base)
    rows = []
    for base, following in zip(bases, [*bases[1:], 0x100], strict=True):
        cycles, meaning = INSTRUCTIONS[base.name]
        span = f"{hexadecimal(base)} … {hexadecimal(following - 1)}"
        rows.append((base.name, span, cycles, meaning.format(**names)))
    return table(("instruction", "opcodes", "cycles", "what it does"), rows)


def code_memory_table() -> str:
    """What lies where in the code memory; needs Amaranth."""
    from ringpair_hdl.control import isa

    def span(rows: range) -> str:
        return f"{hexadecimal(2 * rows.start, 3)} … {hexadecimal(2 * rows.stop - 1, 3)}"

    rows = (
        (span(range(isa.STACK_ROWS)), "return stack: a CALL writes a JUMP here, the only rows that are written"),
        (span(isa.LABEL_ROWS), "labels of derivations: the fields of their constants"),
        (span(isa.VECTOR_ROWS), "vectors: JUMPs to the routines called most"),
        (f"up to {hexadecimal(2 * isa.ROWS - 1, 3)}", "fields of moves, `length6 address10`; free rows above, too"),
        (f"from there to {hexadecimal((1 << isa.TARGET) - 1, 3)}", "the program"),
    )
    return table(("bytes", "what"), rows)


def example_table() -> str:
    """Code memory of the example in the sequencer's README, which is run; needs Amaranth."""
    text = (ROOT / SEQUENCER).read_text(encoding="utf-8")
    source = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    if source is None:
        raise ValueError(f"{SEQUENCER} has no example in Python")
    names: dict[str, Any] = {}
    exec(source[1], names)
    rom = names["rom"]
    places = sorted((place, name) for name, place in rom.labels.items() if not name.startswith("."))
    ends = [*(place for place, _ in places[1:]), len(rom)]
    pieces = [("the table", 0, rom.start)] + [
        (f"`{name}`", place, end) for (place, name), end in zip(places, ends, strict=True)
    ]
    rows = ((hexadecimal(start, 3), what, f"`{rom.data[start:end].hex(' ')}`") for what, start, end in pieces)
    return table(("address", "what", "bytes"), rows)


def sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring on one line."""
    return re.sub(r"`(formal/[^`]+)`", r"`\1`", " ".join((docstring or "").split("\n\n")[0].split()))


def program_proof_table() -> str:
    """What holds on all paths of the control program: the docstrings of the rules; needs Amaranth."""
    from formal import controllers, counters, lengths, rules, secrecy, waits

    found = (rules.SessionKeys, rules.CommitFirst, rules.PeerWrites, rules.AtRest, rules.Residue, rules.Epochs)
    found += (counters.SentCounters, counters.HeardCounters, secrecy.OnlyPublic, secrecy.Secrets, lengths.Lengths)
    found += (controllers.PinCounter, controllers.PinTold, controllers.TriesBack, controllers.Controllers)
    found += (controllers.Shelf, controllers.Signing)
    found += (waits.Selected, waits.ReceivedFrames, waits.SentFrames, waits.Phases, waits.Commands)
    return table(
        ("rule", "what holds on every path"), ((f"`{rule.__name__}`", sentence(rule.__doc__)) for rule in found)
    )


def loop_table() -> str:
    """What ends the loops of the control program; needs Amaranth."""
    from ringpair_hdl.program import Memory

    from formal.shape import device_bounds

    memory = Memory(admin.Identity(admin.Profile.PAIR, True, 12, bytes(8), bytes(8), 0))
    return table(("a loop of the program ends, because",), ((name,) for name in device_bounds(memory)))


def cut_table() -> str:
    """Every wire by which something secret can come to a pin; needs Amaranth."""
    from formal.leaks import CUTS

    return table(("wire of the flat device", "what it carries"), ((f"`{wire}`", what) for wire, what in CUTS.items()))


def full_cut_table() -> str:
    """The same of the profile FULL."""
    from formal.leaks import FULL_CUTS

    rows = ((f"`{wire}`", what) for wire, what in FULL_CUTS.items())
    return table(("wire of the flat device of the profile FULL", "what it carries"), rows)


def block_proof_table() -> str:
    """The files of proofs, and what they say of themselves."""
    rows = []
    for path in sorted((ROOT / "formal").glob("test_*.py")):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        rows.append((f"`formal/{path.name}`", sentence(docstring)))
    return table(("file", "what it shows"), rows)


def symbolic_table() -> str:
    """The symbolic models, and the verdicts that they must get."""
    from formal.symbolic.models import CONTROLS, MODELS

    def named(model: Any, right: bool) -> str:
        return ", ".join(words(name) for name, value in model.expected.items() if value is right) or "–"

    rows = (
        (f"`{name}`", "control" if name in CONTROLS else "model", named(model, True), named(model, False))
        for name, model in MODELS.items()
    )
    return table(("name", "kind", "must be proven", "must have a trace against it"), rows)


def program_figures() -> str:
    """Size of the control program (not in a document: it changes with every line of it)."""
    from ringpair_hdl.control.isa import STACK_ROWS, TARGET
    from ringpair_hdl.program import pairing_program

    identity = admin.Identity(admin.Profile.PAIR, True, 12, bytes(8), bytes(8), 0)
    program, memory = pairing_program(identity, 92)
    rom = program.link()
    rows = (
        ("bytes of code and table", f"{len(rom)} of {1 << TARGET}"),
        ("calls nest", f"{rom.depth} deep of {STACK_ROWS}"),
        ("bytes of the scratchpad in use", f"{memory.pad.used} of {memory.pad.size}"),
    )
    return table(("what", "value"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "derivations": derivation_table,
    "messages": message_table,
    "commands": command_table,
    "events": event_table,
    "codes": code_table,
    "identity": lambda: layout(admin.IDENTITY_FIELDS),
    "status": lambda: layout(admin.STATUS_FIELDS),
    "flash": flash_table,
    "plain-record": lambda: layout(records.PLAIN_FIELDS),
    "slots": slot_table,
    "limits": limit_table,
    "puf": puf_table,
    "noise": noise_table,
    "silicon": silicon_table,
    "secrets": secret_table,
    "instructions": instruction_table,
    "code-memory": code_memory_table,
    "example": example_table,
    "program": program_figures,
    "program-proofs": program_proof_table,
    "loops": loop_table,
    "cuts": cut_table,
    "full-cuts": full_cut_table,
    "block-proofs": block_proof_table,
    "symbolic": symbolic_table,
    **BOARD_TABLES,
    **CLAIM_TABLES,
}


def tables_in(text: str) -> dict[str, str]:
    """Name and present content of every table in a document."""
    return {match[2]: match[0][len(match[1]) : -len(match[3])] for match in MARKED.finditer(text)}


def updated(text: str) -> str:
    """The document with all its tables made anew.

    Raises
    ------
    KeyError
        It asks for a table that does not exist.
    """
    return MARKED.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Tables of the documents, made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a document is out of date")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"print these tables: {', '.join(TABLES)}")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in TABLES:
            parser.error(f"there is no table {name!r}; there are {', '.join(TABLES)}")
        print(TABLES[name]())
    if options.names:
        return 0
    stale = 0
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        new = updated(text)
        if new != text:
            stale += 1
            print(f"{name}: {'out of date, run python scripts/doc_tables.py' if options.check else 'written'}")
            if not options.check:
                path.write_text(new, encoding="utf-8")
    return int(options.check and stale > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
