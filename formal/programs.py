"""The control programs whose paths are followed, by profile, and the same with a bug put in on purpose."""

import inspect
from functools import cache

import pytest
from ringpair_hdl import program
from ringpair_hdl.control import Program, Rom, optimizer
from ringpair_hdl.link import Button
from ringpair_hdl.program import Memory
from ringpair_hdl.program.curve import Unit32
from ringpair_protocol.admin import Identity, Profile

from formal import controllers, counters, rules, secrecy, shape, waits
from formal.lengths import measure
from formal.paths import Rule, Violation, explore
from formal.prove import mutant
from formal.states import Code

CLOCK_MHZ = {Profile.PAIR: 12, Profile.FULL: 24}
SECRET = (
    "slot",
    "seal_key",
    "chain_next",
    "auth_key",
    "session_root",
    "random",
    "pair_key",
    "buffer",
    "bits",
    "puf_key",
    "new_wrap",
    "session",
)
"""Names of the secret fields."""


def identity(profile: Profile) -> Identity:
    return Identity(profile, True, CLOCK_MHZ[profile], bytes(8), bytes(8), 0)


def written(profile: Profile) -> tuple[Program, Memory]:
    clock_hz = CLOCK_MHZ[profile] * 1_000_000
    return program.pairing_program(identity(profile), clock_hz / Button(clock_hz).tick_clocks)


@cache
def shortened() -> tuple[Rom, tuple[tuple, ...]]:
    """The program of the profile `FULL`, and its common pieces that are written once, in their order."""
    pieces, best = [], optimizer._best_piece

    def noted(nodes):
        found = best(nodes)
        pieces.append(found[1])
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimizer, "_best_piece", noted)
        return written(Profile.FULL)[0].link(), tuple(pieces[:-1])


def linked(profile: Profile, *, shorten: bool = True) -> tuple[Code, Memory]:
    """The program as it goes into the code memory, or as it is before the optimizer has shortened it."""
    text, memory = written(profile)
    rom = shortened()[0] if shorten and profile is Profile.FULL else text.link(shorten=shorten)
    return Code(rom, memory.pad.init), memory


@cache
def device(profile: Profile, *, shorten: bool = True) -> tuple[Code, Memory]:
    """The same, with the lengths of its counted runs."""
    code, memory = linked(profile, shorten=shorten)
    measure(code, memory)
    return code, memory


def all_rules(profile: Profile, *, shorten: bool = True) -> dict[str, Rule]:
    """The rules by name; those on one field with its name."""
    code, memory = device(profile, shorten=shorten)
    made = (rules.rules, counters.counter_rules, secrecy.secret_rules, controllers.controller_rules, waits.wait_rules)
    return {name_of(rule): rule for of in made for rule in of(code, memory)}


def name_of(rule: Rule) -> str:
    field = getattr(rule, "field", None)
    return " ".join([type(rule).__name__, *([field.name] if field else [])])


def outline(nodes: list, roots: set[str]) -> list:
    """As the optimizer does it, with the pieces of the program without bugs: to look for them takes longest."""
    for number, piece in enumerate(shortened()[1]):
        starts = [k for k in range(len(nodes)) if tuple(nodes[k : k + len(piece)]) == piece]
        if len(apart := optimizer._apart(starts, len(piece))) > 1:
            nodes = optimizer._replace(nodes, piece, apart, f"@{number}")
        if number % 16 == 0:
            nodes = optimizer.tidy(nodes, roots)
    return optimizer.tidy(nodes, roots)


def notices(profile: Profile, by: str, module, old: str, new: str, patch: pytest.MonkeyPatch) -> None:
    """The rule of this name notices a text of a module that is another one."""
    for name, function in vars(program).copy().items():
        if name.startswith("add_") and inspect.getmodule(function) is module:
            patch.setattr(program, name, mutant(function, old, new))
    full = profile is Profile.FULL
    lengths = device(profile, shorten=full)[0].lengths
    patch.setattr(optimizer, "outline", outline)
    text, memory = written(profile)
    code = Code(text.link(shorten=full), memory.pad.init)
    code.lengths = lengths
    with pytest.raises(Violation):
        check(code, memory, *by.split(" "))


def check(code: Code, memory: Memory, name: str, field: str = "") -> None:
    """One of the proofs by its name."""
    if name == "loops":
        shape.loops(code, shape.device_bounds(memory))
    elif name == "Lengths":
        measure(code, memory)
    else:
        explore(code, rule_of(code, memory, name, field))


def rule_of(code: Code, memory: Memory, cls: str, field: str) -> Rule:
    made = next(found for of in (rules, counters, secrecy, controllers, waits) if (found := getattr(of, cls, None)))
    if cls == "SentCounters":
        return made(code, memory, Unit32[field])
    if not field:
        return made(code, memory)
    return made(code, memory, memory.pad.fields.get(field, rules.Field(field, 0, 0)))
