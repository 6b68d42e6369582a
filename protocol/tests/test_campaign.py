"""The frame around the long campaigns: what is lost is never lost sight of."""

import json
from dataclasses import replace

import pytest

from scripts import campaign
from scripts.campaign import Campaign, Trial


def clean(trial: Trial) -> None:
    while trial.left:
        trial.count(3)
    trial.notes["seed"] = trial.seed


def losing(trial: Trial) -> None:
    trial.count(2)
    trial.lose("a bit")


def failing(trial: Trial) -> None:
    trial.count()
    raise ValueError("in the middle")


def idle(trial: Trial) -> None:
    pass


def interrupted(trial: Trial) -> None:
    trial.count(5)
    raise KeyboardInterrupt


@pytest.fixture
def campaigns(monkeypatch):
    """Sets which campaigns there are, and says so for each of them."""

    def make(*functions):
        rows = tuple(Campaign(f.__name__, "tries", 10, f"{__name__}:{f.__name__}") for f in functions)
        monkeypatch.setattr(campaign, "CAMPAIGNS", rows)
        monkeypatch.setattr(Campaign, "load", lambda self: globals()[self.name])

    return make


def test_nothing_lost(campaigns, capsys, tmp_path) -> None:
    campaigns(clean)
    assert campaign.main(["--seed", "7", "--json", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "seed 7" in said
    assert "| `clean` | 12 tries | nothing |" in said
    result = json.loads((tmp_path / "out").read_text())
    assert (result["clean"]["seed"], result["clean"]["tried"]) == (7, 12)
    (tmp_path / "out").write_text('{"other": {}}')
    campaign.main(["--json", str(tmp_path / "out")])
    assert set(json.loads((tmp_path / "out").read_text())) == {"other", "clean"}


@pytest.mark.parametrize(("function", "text"), [(losing, "a bit"), (failing, "in the middle"), (idle, "nothing was")])
def test_losses_are_told_and_the_others_go_on(campaigns, capsys, function, text) -> None:
    campaigns(function, clean)
    assert campaign.main([]) == 1
    said = capsys.readouterr()
    assert text in said.err
    assert f"| `{function.__name__}` |" in said.out
    assert "| `clean` | 12 tries | nothing |" in said.out


def test_interrupt_prints_what_there_is(campaigns, capsys) -> None:
    campaigns(clean, interrupted, losing)
    assert campaign.main([]) == 130
    said = capsys.readouterr().out
    assert "| `clean` |" in said
    assert "| `interrupted` | 5 tries | nothing |" in said
    assert "`losing`" not in said


def test_what_needs_something_is_left_out(campaigns, capsys, monkeypatch) -> None:
    campaigns(clean, losing)
    rows = tuple(replace(row, needs="RINGPAIR_NOWHERE") if row.name == "losing" else row for row in campaign.CAMPAIGNS)
    monkeypatch.setattr(campaign, "CAMPAIGNS", rows)
    assert campaign.main([]) == 0
    assert "losing is left out: it needs the environment variable RINGPAIR_NOWHERE" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        campaign.main(["--only", "losing"])
    monkeypatch.setenv("RINGPAIR_NOWHERE", "somewhere")
    assert campaign.main(["--only", "losing"]) == 1


def test_chosen_and_scaled(campaigns, capsys) -> None:
    campaigns(clean, losing)
    assert campaign.main(["--only", "clean", "--scale", "0.1", "--seed", "3"]) == 0
    assert "| `clean` | 3 tries | nothing | 0 s | seed 3 |" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        campaign.main(["--only", "nonsense"])
    assert "expected one of clean, losing" in capsys.readouterr().err


def test_progress_is_told(monkeypatch) -> None:
    lines = []
    monkeypatch.setattr(campaign, "EVERY_SECONDS", 0)
    trial = Trial(10, 1, lines.append)
    trial.count(5)
    assert lines[0].startswith("5 of 10, ")


def test_all_of_them_are_there() -> None:
    """What a row names can be loaded, and no name stands twice."""
    names = [row.name for row in campaign.CAMPAIGNS]
    assert len(names) == len(set(names))
    for row in campaign.CAMPAIGNS:
        assert callable(row.load())
