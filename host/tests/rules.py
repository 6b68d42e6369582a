"""Rules of a story, and where its choices come from (`story.py`, `bound_story.py`)."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Chooser(Protocol):
    """Where a rule takes its choices from."""

    def number(self, low: int, high: int) -> int:
        """From low to high, both included."""

    def pick(self, values: Sequence[T]) -> T:
        """One of them."""

    def data(self, low: int, high: int) -> bytes:
        """So many bytes."""


class Dice:
    """Choices of a generator with a seed."""

    def __init__(self, source: random.Random):
        self.source = source

    def number(self, low: int, high: int) -> int:
        return self.source.randint(low, high)

    def pick(self, values: Sequence[T]) -> T:
        return self.source.choice(values)

    def data(self, low: int, high: int) -> bytes:
        return self.source.randbytes(self.source.randint(low, high))


Rule = Callable[[Any, Chooser], None]
"""A method of a story."""
When = Callable[[Any], bool]


class Rules(dict[str, tuple[float, Rule, When]]):
    """Weight in long runs, the rule, and whether it can be played now; by name."""

    def rule(self, weight: float, when: When = lambda story: True) -> Callable[[Rule], Rule]:
        """A method of the story that may be played."""

        def register(function: Rule) -> Rule:
            self[function.__name__] = weight, function, when
            return function

        return register

    def draw(self, story: object, source: random.Random) -> str:
        """One of those that can be played now, by weight."""
        possible = [name for name, (_, _, when) in self.items() if when(story)]
        (name,) = source.choices(possible, [self[name][0] for name in possible])
        return name
