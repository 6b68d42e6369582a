"""Campaigns on the compiled device; `scripts/campaign.py` runs them."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from unittest.mock import patch

from ringpair_protocol import ascon

from host.tests.cuts import ERASE, OPERATIONS, Operations, boundaries, counts, cut
from host.tests.rules import Dice
from host.tests.story import Story
from host.tests.worthless import EVERY, PORTS, Line, genuine
from scripts.campaign import Trial

STEPS_OF_A_STORY = 2000
SILICON = 12
"""Pairs of boards that the stories are about."""


@contextmanager
def remembered() -> Iterator[None]:
    """The model opens the same records again and again: permutations are not computed twice."""
    with patch.object(ascon, "permute", lru_cache(maxsize=1 << 16)(ascon.permute)):
        yield


def steps(trial: Trial, kind: type[Story] = Story) -> None:
    """Model against device: stories of two devices, until so many steps are done."""
    played: Counter[str] = Counter()
    number = 0
    with remembered():
        while trial.left:
            dice = Dice(random.Random(f"{trial.seed} {number}"))
            pair = number % SILICON
            length = min(trial.left, STEPS_OF_A_STORY)
            story = kind((2 * pair + 1, 2 * pair + 2))
            name = "start"
            try:
                for _ in range(length):
                    name = story.rules.draw(story, dice.source)
                    story.play(name, dice)
                    played[name] += 1
                    trial.count()
                name = "end"
                story.end()
            except Exception as problem:
                raise AssertionError(f"story {number} of seed {trial.seed}, step {trial.tried}, {name}") from problem
            for figure, count in story.figures().items():
                trial.notes[figure] = int(trial.notes.get(figure, 0)) + count
            story.close()
            number += 1
    trial.notes |= {name.replace("_", " "): played[name] for name in kind.rules}


def cuts(trial: Trial, operations: Operations = OPERATIONS) -> None:
    """Power cuts: all boundaries of all flash commands, two random moments inside each, then random ones to the goal.

    Every second random one is followed by cuts of the power-up behind it.
    """
    source = random.Random(trial.seed)
    commands = [
        (name, kind, n)
        for name in operations
        for kind, count in counts(name, operations).items()
        for n in range(1, count + 1)
    ]
    trial.notes = {"operations": len(operations), "flash commands": len(commands)}

    def moment(kind: str) -> float:
        """Late in every second erase: few bits are left then, and blank slots lie between others."""
        late = kind == ERASE and source.random() < 0.5
        return 1 - source.random() / 8 if late else source.random()

    def attempt(name: str, kind: str, number: int, fraction: float, again: random.Random | None = None) -> None:
        try:
            trial.count(cut(name, kind, number, fraction, again, operations))
        except AssertionError as problem:
            trial.count()
            trial.lose(f"{name}, {kind} {number} at {fraction:.4f}: {problem}")

    with remembered():
        for name in operations:
            for case in boundaries(name, operations):
                attempt(name, *case)
        trial.notes["at boundaries"] = trial.tried
        for command in commands * 2:
            attempt(*command, moment(command[1]))
        while trial.left:
            command = source.choice(commands)
            attempt(*command, moment(command[1]), source)
        trial.notes["inside"] = trial.tried - int(trial.notes["at boundaries"])


def frames_on(trial: Trial, kind: type[Line], recorded: list[bytes]) -> None:
    """Random and mutated frames on one port, in every state in which a device can be."""
    source, number = random.Random(trial.seed), 0
    with remembered():
        while trial.left:
            state = list(kind.states)[number % len(kind.states)]
            line, number = kind(source, state, recorded), number + 1
            before = trial.tried
            for step in range(min(kind.states[state], trial.left)):
                trial.count(line.one())
                if step % EVERY == EVERY - 1:
                    line.settle()
            trial.count(line.finish())
            line.twin.close()
            trial.notes[state] = int(trial.notes.get(state, 0)) + trial.tried - before


def admin_frames(trial: Trial) -> None:
    frames_on(trial, PORTS["admin"], genuine())


def peer_frames(trial: Trial) -> None:
    frames_on(trial, PORTS["peer"], genuine())
