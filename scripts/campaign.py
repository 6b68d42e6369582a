"""The long campaigns: what takes too long for every change, run by ``make campaign``; prints what was tried and lost.

    python scripts/campaign.py                          # all of them, with a new seed, which is printed
    python scripts/campaign.py --list                   # what there is
    python scripts/campaign.py --only device-steps      # one, or several
    python scripts/campaign.py --seed 7 --scale 0.01    # again, the same, a hundredth of it
    python scripts/campaign.py --json docs/campaigns.json     # put the results there; what was not run stays

A campaign is a row of `CAMPAIGNS`: it names a function, which takes a `Trial`, tries things until ``trial.goal`` and
counts them with ``trial.count()``; what should not have happened it tells with ``trial.lose(text)``. An exception
counts as a loss and ends that campaign, not the others. The same seed tries the same things.

Exit code: 0 if nothing was lost, 1 if something was, 2 for wrong arguments, 130 after an interrupt; the table is
printed in any case, with what an interrupted campaign has tried.
"""

import argparse
import json
import os
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from board_tables import table

ROOT = Path(__file__).resolve().parent.parent
EVERY_SECONDS = 20
"""Between two lines of progress."""


@dataclass(frozen=True)
class Campaign:
    """What can be run.

    Attributes
    ----------
    name
        For ``--only``, and for the test plan.
    unit
        What is counted.
    goal
        How many of them in a whole run.
    function
        ``module:function``; imported only when it runs.
    needs
        Environment variable without which it is left out, and not even by name it runs.
    """

    name: str
    unit: str
    goal: int
    function: str
    needs: str = ""

    def load(self) -> Callable[["Trial"], None]:
        """The function."""
        module, _, name = self.function.partition(":")
        found: Callable[[Trial], None] = getattr(import_module(module), name)
        return found


CAMPAIGNS: tuple[Campaign, ...] = (
    Campaign("device-steps", "steps", 1_000_000, "host.tests.campaign_device:steps"),
    Campaign("device-cuts", "power cuts", 3_000, "host.tests.campaign_device:cuts"),
    Campaign("peer-frames", "frames", 1_000_000, "host.tests.campaign_device:peer_frames"),
    Campaign("admin-frames", "frames", 1_000_000, "host.tests.campaign_device:admin_frames"),
    Campaign("parsers", "inputs", 1_000_000, "host.tests.campaign_host:parsers"),
    Campaign("measured-chips", "keys", 97 * 84, "host.tests.campaign_keys:measured", "RINGPAIR_RO_DATA"),
    Campaign("weather", "keys", 200 * 25, "host.tests.campaign_keys:weather"),
    Campaign("false-alarms", "noise samples", 1 << 32, "host.tests.campaign_noise:false_alarms"),
    Campaign("binding-messages", "messages", 100_000, "host.tests.campaign_binding:messages"),
    Campaign("binding-curve", "cases", 50_000, "host.tests.campaign_binding:curve"),
    Campaign("binding-steps", "steps", 20_000, "host.tests.campaign_bound:steps"),
    Campaign("binding-cuts", "power cuts", 1_000, "host.tests.campaign_bound:cuts"),
    Campaign("controller-frames", "frames", 100_000, "host.tests.campaign_bound:frames"),
    Campaign("board-seeds", "builds", 21, "boards.tests.campaign_builds:board_seeds"),
    Campaign("curve-engine", "cases", 10_000, "host.tests.campaign_curve:curve_engine"),
    Campaign("curve-netlist", "cases", 3_000, "host.tests.campaign_curve:curve_netlist"),
)
"""All of them, in the order in which they run."""


@dataclass
class Trial:
    """One run of a campaign: what it has to do, and what it has done.

    Attributes
    ----------
    goal
        How many to try; a campaign that goes through all cases of a kind may try more.
    seed
        Of everything that is drawn.
    tried, lost, notes
        So far; ``notes`` are figures for the table, by name.
    """

    goal: int
    seed: int
    tell: Callable[[str], None] = lambda line: None
    tried: int = 0
    lost: list[str] = field(default_factory=list)
    notes: dict[str, int | float | str] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    interrupted: bool = False
    _told: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> int:
        """How many are still to be tried."""
        return max(0, self.goal - self.tried)

    def count(self, number: int = 1) -> None:
        """So many more have been tried."""
        self.tried += number
        now = time.monotonic()
        if now - self._told >= EVERY_SECONDS:
            self._told = now
            rate = self.tried / (now - self.begun)
            self.tell(f"{self.tried} of {self.goal}, {rate:.0f}/s, {self.left / rate / 60:.0f} min left")

    def lose(self, what: str) -> None:
        """Something happened that must not happen."""
        self.lost.append(what)
        self.tell(f"LOST: {what}")


def run(campaign: Campaign, seed: int, scale: float = 1.0, tell: Callable[[str], None] = lambda line: None) -> Trial:
    """Run one campaign; it ends at its first exception, which is a loss."""
    trial = Trial(max(1, round(campaign.goal * scale)), seed, lambda line: tell(f"{campaign.name}: {line}"))
    try:
        campaign.load()(trial)
    except KeyboardInterrupt:
        trial.interrupted = True
    except Exception:
        trial.lose(traceback.format_exc())
    if not trial.tried and not trial.interrupted:
        trial.lose("nothing was tried")
    trial.seconds = time.monotonic() - trial.begun
    return trial


def as_table(trials: dict[str, Trial], campaigns: Sequence[Campaign] | None = None) -> str:
    """What was tried and what was lost."""
    units = {campaign.name: campaign.unit for campaign in campaigns or CAMPAIGNS}

    def row(name: str, trial: Trial) -> tuple[object, ...]:
        notes = "; ".join(f"{key} {value}" for key, value in trial.notes.items())
        tried = f"{trial.tried:,}".replace(",", " ")
        return f"`{name}`", f"{tried} {units[name]}", len(trial.lost) or "nothing", f"{trial.seconds:.0f} s", notes

    return table(("campaign", "tried", "lost", "time", "of these"), [row(*item) for item in trials.items()])


def as_json(trials: dict[str, Trial], seed: int, scale: float, before: str = "{}") -> str:
    """The same for machines, by name; results of other campaigns in ``before`` stay."""
    rows = {
        name: {"seed": seed, "scale": scale, "tried": t.tried, "lost": t.lost, "seconds": round(t.seconds)}
        | {"notes": t.notes}
        for name, t in trials.items()
    }
    return json.dumps(json.loads(before) | rows, indent=1) + "\n"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="only name the campaigns")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these")
    parser.add_argument("--seed", type=int, help="draw the same as a run that printed this seed")
    parser.add_argument("--scale", type=float, default=1.0, help="so much of it: 0.01 is a hundredth")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    options = parser.parse_args(arguments)
    names = [campaign.name for campaign in CAMPAIGNS]
    for name in options.only or ():
        if name not in names:
            parser.error(f"there is no campaign {name!r}: expected one of {', '.join(names)}")
    for campaign in CAMPAIGNS:
        if campaign.name in (options.only or ()) and campaign.needs and campaign.needs not in os.environ:
            parser.error(f"the campaign {campaign.name} needs the environment variable {campaign.needs}")
    if not options.scale > 0:
        parser.error(f"a scale must be above 0, not {options.scale}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    chosen = [campaign for campaign in CAMPAIGNS if not options.only or campaign.name in options.only]
    if options.list:
        print(table(("campaign", "tries"), [(f"`{c.name}`", f"{c.goal} {c.unit}") for c in chosen]))
        return 0
    seed = secrets.randbits(32) if options.seed is None else options.seed
    print(f"seed {seed}, scale {options.scale:g}", flush=True)
    trials: dict[str, Trial] = {}
    interrupted = False
    for campaign in chosen:
        if campaign.needs and campaign.needs not in os.environ:
            print(f"{campaign.name} is left out: it needs the environment variable {campaign.needs}", flush=True)
            continue
        trial = run(campaign, seed, options.scale, lambda line: print(line, flush=True))
        trials[campaign.name] = trial
        if trial.interrupted:
            interrupted = True
            break
    print(as_table(trials))
    if options.json:
        before = options.json.read_text() if options.json.exists() else "{}"
        options.json.write_text(as_json(trials, seed, options.scale, before))
    losses = [f"{name}: {what}" for name, trial in trials.items() for what in trial.lost]
    for loss in losses:
        print(f"\nLOST in {loss}", file=sys.stderr)
    return 130 if interrupted else int(bool(losses))


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]
    sys.exit(main())
