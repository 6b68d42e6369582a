"""Words and cycles of the program: python -m ringpair_hdl.curve"""

from .cycles import cycles
from .isa import DISPATCH, Kind
from .program import curve_program


def main():
    """Print both tables."""
    code = curve_program()
    words: dict[str, int] = {}
    for instruction in code.listing[:DISPATCH]:
        if instruction is not None and instruction.routine:
            words[instruction.routine] = words.get(instruction.routine, 0) + 1
    leaves = {instruction.routine for instruction in code.listing if instruction and instruction.kind != Kind.CONTROL}
    print(f"{'routine':<24}{'words':>6}{'cycles':>9}")
    for name, count in words.items():
        try:
            duration = f"{cycles(code, name):>9}"
        except ValueError:
            duration = ""  # depends on lengths, or on public values
        print(f"{name:<24}{count:>6}{duration}")
    total = sum(words.values())
    print(f"{total} of {DISPATCH} words, {sum(count for name, count in words.items() if name in leaves)} in leaves")


if __name__ == "__main__":
    main()
