"""The scratchpad: one block of memory with named fields, where every working value of the device lives."""

from dataclasses import dataclass

from .isa import ADDRESS, HOT, LENGTH_ADDRESS


@dataclass(frozen=True)
class Field:
    """A run of bytes in the scratchpad. Slicing gives a part of it."""

    name: str
    address: int
    length: int
    secret: bool = False
    constant: bool = False

    def __getitem__(self, part: slice | int) -> "Field":
        if isinstance(part, int):
            part = slice(part, part + 1 or None)
        start, stop, _ = part.indices(self.length)
        if stop <= start:
            raise ValueError(f"{self.name}[{start}:{stop}] is empty")
        name = f"{self.name}[{start}:{stop}]"
        return Field(name, self.address + start, stop - start, self.secret, self.constant)

    @property
    def end(self) -> int:
        return self.address + self.length


class Scratchpad:
    """Allocates fields one after the other and keeps their initial contents.

    Attributes
    ----------
    length
        The byte that tells the length of moves of length 0.
    """

    def __init__(self):
        self.size = 1 << ADDRESS
        self.fields: dict[str, Field] = {}
        self.init = bytearray(self.size)
        self._end, self._top = 0, HOT.stop
        self.length = self.field("length", 1, hot=1)
        assert self.length.address == LENGTH_ADDRESS

    def field(
        self,
        name: str,
        length: int,
        *,
        secret: bool = False,
        init: bytes = b"",
        hot: int = 0,
        constant: bool = False,
    ) -> Field:
        """A new field behind the others.

        Parameters
        ----------
        hot
            How many bytes at its end byte instructions shall reach without an address; there is room for few.
        constant
            No instruction may write it.

        Raises
        ------
        ValueError
            The name is taken, the initial contents do not fit, or there is no room.
        """
        if name in self.fields:
            raise ValueError(f"there is a field {name!r} already")
        if len(init) not in (0, length):
            raise ValueError(f"field {name!r} has {length} bytes, its initial contents {len(init)}")
        start = self._top - length if hot else self._end
        if start < self._end or start + length > self._top or (hot and start + length - hot < HOT.start):
            raise ValueError(f"no room for {name!r}: {length} bytes wanted, {self._top - self._end} left, {hot} hot")
        field = Field(name, start, length, secret, constant)
        if hot:
            self._top = start
        else:
            self._end += length
        self.init[field.address : field.end] = init or bytes(length)
        self.fields[name] = field
        return field

    def constant(self, value: bytes) -> Field:
        """A field that nothing writes, shared by all who want this value."""
        return self.fields.get(f"={value.hex()}") or self.field(
            f"={value.hex()}", len(value), init=value, constant=True
        )

    @property
    def used(self) -> int:
        return self._end + self.size - self._top
