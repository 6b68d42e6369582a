"""How the command line is started: streams that are closed, words and variables that are no text."""

import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

pytestmark = pytest.mark.usefixtures("home")


def started(command, **environment):
    """The command line in a process of its own, started by a shell."""
    command = f"{shlex.quote(sys.executable)} -m ringpair.cli {command}"
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=os.environ | environment)


@pytest.mark.parametrize("streams", [">&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(home, streams):
    """No traceback, and no file of ours gets their numbers."""
    done = started(f"services {streams}")
    assert (done.returncode, done.stderr) == (0, "")
    with closing(sqlite3.connect(home / "registry.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_nobody_to_ask_with_closed_input(home):
    done = started("service new phone <&-", RINGPAIR_PASSPHRASE="")
    assert done.returncode == 4
    assert done.stderr.startswith("ringpair: the registry's keys need a passphrase and there is no terminal to ask")


@pytest.mark.parametrize(
    ("words", "environment", "code", "message"),
    [
        ("pair '\udcff' bob", {}, 2, "expected arguments in UTF-8, got '\\udcff'"),
        ("service new phone", {"RINGPAIR_PASSPHRASE": "a\udcffb"}, 4, "expected a passphrase in UTF-8"),
    ],
)
def test_words_that_are_no_text(home, words, environment, code, message):
    done = started(words, **environment)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "a\\udcffb" not in done.stderr
