"""The scratchpad: one block of memory with named fields, where every working value of the device lives."""

from dataclasses import dataclass

from .isa import ADDRESS, LENGTH


@dataclass(frozen=True)
class Field:
    """A run of bytes in the scratchpad. Slicing gives a part of it."""

    name: str
    address: int
    length: int
    secret: bool = False

    def __getitem__(self, part: slice | int) -> "Field":
        if isinstance(part, int):
            part = slice(part, part + 1)
        start, stop, _ = part.indices(self.length)
        if stop <= start:
            raise ValueError(f"{self.name}[{start}:{stop}] is empty")
        return Field(f"{self.name}[{start}:{stop}]", self.address + start, stop - start, self.secret)

    @property
    def end(self) -> int:
        return self.address + self.length


class Scratchpad:
    """Allocates fields one after the other and keeps their initial contents.

    Parameters
    ----------
    size
        Bytes in all; a multiple of 512 fills whole block RAMs on iCE40.
    """

    def __init__(self, size: int = 1 << ADDRESS):
        if not 0 < size <= 1 << ADDRESS:
            raise ValueError(f"a scratchpad has 1 to {1 << ADDRESS} bytes, not {size}")
        self.size = size
        self.fields: dict[str, Field] = {}
        self.init = bytearray(size)
        self._end = 0

    def field(self, name: str, length: int, *, secret: bool = False, init: bytes = b"") -> Field:
        """A new field behind the others.

        Raises
        ------
        ValueError
            The name is taken, the initial contents do not fit, or the scratchpad is full.
        """
        if name in self.fields:
            raise ValueError(f"there is a field {name!r} already")
        if len(init) not in (0, length):
            raise ValueError(f"field {name!r} has {length} bytes, its initial contents {len(init)}")
        if self._end + length > self.size:
            raise ValueError(f"no room for {name!r}: {length} bytes wanted, {self.size - self._end} of {self.size} left")
        field = Field(name, self._end, length, secret)
        self.init[field.address : field.end] = init or bytes(length)
        self.fields[name] = field
        self._end += length
        return field

    def constant(self, value: bytes) -> Field:
        """A field that nothing writes, shared by all who want this value."""
        return self.fields.get(f"={value.hex()}") or self.field(f"={value.hex()}", len(value), init=value)

    @property
    def used(self) -> int:
        return self._end


def check_length(length: int) -> int:
    if not 0 <= length < 1 << LENGTH:
        raise ValueError(f"a move has 0 to {(1 << LENGTH) - 1} bytes, not {length}")
    return length
