"""What a symbolic model is: parts of text, what is put into them, and the verdicts that it must get."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Model:
    """Parts, what is put into their places, and what ProVerif must say of the queries, in their order; those that are
    not in ``expected`` may come out either way."""

    parts: tuple[str, ...]
    queries: tuple[str, ...]
    expected: Mapping[str, bool]
    places: Callable[[], Mapping[str, str]] = dict

    def text(self) -> str:
        """The model as ProVerif reads it."""
        places = self.places()
        parts = ((FOLDER / part).read_text(encoding="utf-8") for part in self.parts)
        return "\n".join(Template(part).substitute(places) for part in parts)


def group(*names: str) -> str:
    return f"({', '.join(names)})"
