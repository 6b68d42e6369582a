"""The command line as a stranger would use it, on the compiled gateware: processes, ptys, TCP, UDP, pulled plugs."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from ringpair.registry import Registry, Secrecy
from ringpair.virtual import Design, attach, build

PATIENCE_S = 240
RO_DATA = os.environ.get("RINGPAIR_RO_DATA")


class Shell:
    """Commands of one user: a home of their own, and virtual boards that run in the background."""

    def __init__(self, home: Path):
        self.home = home
        self.environment = os.environ | {"RINGPAIR_HOME": str(home), "RINGPAIR_PASSPHRASE": "correct horse"}
        self.sims: dict[str, subprocess.Popen] = {}
        with Registry(home / "registry.sqlite", Secrecy("correct horse", cost=10)) as registry:
            registry.unlock()

    def start(self, *arguments, **options) -> subprocess.Popen:
        """A command in the background."""
        command = [sys.executable, "-m", "ringpair.cli", *map(str, arguments)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(command, **pipes, text=True, env=self.environment, **options)

    def end(self, process: subprocess.Popen, code=0, given=None):
        """JSON lines of a command that ends with ``code``; a failure is one line on standard error."""
        out, err = process.communicate(given, timeout=PATIENCE_S)
        assert process.returncode == code, (process.args, out, err)
        assert "Traceback" not in err
        lines = [json.loads(line) for line in out.splitlines()]
        if lines and "error" in lines[-1]:
            assert err.splitlines()[-1] == "ringpair: " + lines[-1]["error"]["message"]
        return lines

    def __call__(self, *arguments, code=0, given=None):
        """The JSON object of a command."""
        return self.end(self.start(*arguments, "--json"), code, given)[-1]

    def text(self, *arguments) -> str:
        """What a command tells a human."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        return out

    def sim(self, name, *options) -> dict:
        """Switch a board on."""
        self.sims[name] = process = self.start("sim", name, *options, "--json")
        line = process.stdout.readline()
        assert line, process.communicate()
        return json.loads(line)

    def unplug(self, name) -> None:
        """Kill a board."""
        process = self.sims.pop(name)
        process.kill()
        process.communicate()
        (self.home / "boards" / name / "running.json").unlink()

    def close(self) -> None:
        """Switch all boards off, as Ctrl-C does."""
        for process in self.sims.values():
            process.send_signal(signal.SIGINT)
        for name, process in self.sims.items():
            _, err = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, (name, err)
            assert "Traceback" not in err


@contextmanager
def shell(home):
    opened = Shell(home)
    try:
        yield opened
    finally:
        opened.close()


def enroll(run, *names):
    """Enroll running boards under their own names; their ids."""
    ids = []
    for name in names:
        run("button", name)
        ids.append(run("enroll", name, "--name", name)["id"])
        run("button", name, "--release")
    return ids


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """From the box to two paired boards, which are off again; what the commands said on the way."""
    build(Design())
    home = tmp_path_factory.mktemp("box")
    said = {}
    with shell(home) as run:
        said["sim"] = run.sim("alice", "--seed", 1, "--peer", "bob"), run.sim("bob", "--seed", 2, "--peer", "alice")
        port, url = said["sim"][0]["port"], said["sim"][0]["url"]
        said["blank"] = run("info", port)
        said["no button"] = run("enroll", port, "--name", "alice", code=1)
        said["blank import"] = run("import", port, code=1)
        said["button"] = run("button", "alice", "--seconds", 30)
        said["pressed"] = run("info", "alice")
        said["alice"] = run("enroll", port, "--name", "alice")
        said["released"] = run("button", "alice", "--release")
        said["twice"] = run("enroll", url, "--name", "again", code=1)
        said["bob"] = enroll(run, "bob")
        said["info"] = run("info", url)
        said["text"] = run.text("info", "bob")
        said["pair"] = run("pair", "alice", "bob", "-o", home / "mail")
        said["pair twice"] = run("pair", "alice", "bob", code=4)
        said["import"] = run("import", url)
        said["import file"] = run("import", "bob", home / "mail" / "bob-000000.puzzle")
        said["import again"] = run("import", "bob")
        said["import once more"] = run("import", "bob", code=4)
        said["peers"] = run("peers", "alice")
        said["peers text"] = run.text("peers", "bob")
    return home, said


def test_from_the_box_to_a_pair(box):
    _, said = box
    alice, (bob,) = said["alice"]["id"], said["bob"]
    assert [sorted(one) for one in said["sim"]] == [["name", "pid", "port", "url"]] * 2
    blank, info = said["blank"], said["info"]
    assert (blank["state"], blank["device_id"], blank["name"], blank["button"]) == ("factory", None, None, False)
    assert (blank["simulated"], blank["clock_mhz"], blank["trng_alarm"], blank["failure"]) == (True, 12, False, None)
    assert said["no button"]["error"]["code"] == "NEED_BUTTON"
    assert "ringpair enroll" in said["blank import"]["error"]["message"]
    assert (said["button"]["pressed"], said["pressed"]["button"], said["released"]["pressed"]) == (True, True, False)
    assert (said["alice"]["name"], said["alice"]["simulated"]) == ("alice", True)
    assert 1 <= said["alice"]["search_tries"] <= 4096
    assert said["twice"]["error"]["code"] == "ALREADY_ENROLLED"
    assert (info["state"], info["device_id"], info["name"]) == ("enrolled", alice, "alice")
    assert "device id" in said["text"]
    assert bob in said["text"]
    assert [len(bytes.fromhex(puzzle["message"])) for puzzle in said["pair"]["puzzles"]] == [62, 62]
    assert "paired already" in said["pair twice"]["error"]["message"]
    assert [(row["device"], row["outcome"], row["peer"]) for row in said["import"]["imported"]] == [
        ("alice", "delivered", 0)
    ]
    assert said["import file"]["imported"][0]["outcome"] == "delivered"
    assert said["import again"]["imported"][0]["outcome"] == "known already"
    assert "holds nothing for bob" in said["import once more"]["error"]["message"]
    assert [(row["number"], row["state"], row["id"], row["name"], row["epoch"]) for row in said["peers"]["peers"]] == [
        (0, "live", bob, "bob", 0)
    ]
    assert "alice" in said["peers text"]


@contextmanager
def copied(box, folder, *options):
    """A copy of the paired boards, running, wired to each other."""
    home = folder / "home"
    shutil.copytree(box[0], home)
    with shell(home) as run:
        run.sim("alice", "--peer", "bob", *options)
        run.sim("bob", "--peer", "alice", *options)
        yield run


@pytest.fixture(scope="module")
def town(box, tmp_path_factory):
    """Boards for tests that leave the pairing as it is."""
    with copied(box, tmp_path_factory.mktemp("town")) as run:
        yield run


@pytest.fixture
def village(box, tmp_path):
    """Boards for tests that do not."""
    with copied(box, tmp_path) as run:
        yield run


@contextmanager
def listening(run, *arguments):
    """``ringpair listen`` in the background, once it listens."""
    process = run.start("listen", *arguments)
    try:
        assert process.stderr.readline().startswith("listening"), process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


# ------------------------------------------------------------------------------ sessions on the wires


def test_sessions_and_texts(town):
    with listening(town, "bob", "--count", 3, "--seconds", PATIENCE_S, "--json") as bob:
        session = town("connect", "alice", "bob")
        assert (session["role"], session["peer"], session["name"]) == ("initiator", 0, "bob")
        assert town("send", "alice", "Grüße, bob") == {"messages": 1, "bytes": 12}
        long = "ö" * 60  # two messages, and no character torn
        assert town("send", "alice", "-", given=long)["messages"] == 2
        events = town.end(bob)
    assert events[0] | {"peer": 0} == {
        "event": "session",
        "role": "responder",
        "peer": 0,
        "epoch": session["epoch"],
        "session_id": session["session_id"],
    }
    assert [event["text"] for event in events[1:]] == ["Grüße, bob", "ö" * 48, "ö" * 12]
    with listening(town, "alice", "--count", 1, "--raw", "--seconds", PATIENCE_S) as alice:
        town("send", "bob", "back\tagain")
        assert alice.communicate(timeout=PATIENCE_S)[0] == "back\tagain"
        assert alice.returncode == 0
    assert town("info", "alice")["session"]
    assert town("disconnect", "alice") == {"disconnected": True}
    assert town("send", "alice", "x", code=1)["error"]["code"] == "NO_SESSION"
    assert town("disconnect", "alice", code=1)["error"]["code"] == "NO_SESSION"
    again = town("connect", "bob", "alice")
    assert (again["epoch"], again["peer"]) == (session["epoch"] + 1, 0)
    assert again["session_id"] != session["session_id"]


def test_nothing_to_hear(town):
    process = town.start("listen", "bob", "--count", 1, "--seconds", 0.5, "--json")
    assert town.end(process, code=1) == []


def test_one_command_at_a_time(town):
    with listening(town, "alice") as other:
        busy = town("info", "alice", code=3)
        assert busy["error"]["kind"] == "PortBusy"
        assert f"process {other.pid}" in busy["error"]["message"]
        other.send_signal(signal.SIGINT)
        assert other.communicate(timeout=PATIENCE_S)[1] == "interrupted\n"
        assert other.returncode == 130
    running = town("sim", "alice", code=3)
    assert "is running already" in running["error"]["message"]
    assert town("info", "alice")["state"] == "enrolled"


# ------------------------------------------------------------------------------ tunnels and bridges


def test_tunnel_between_two_ports_of_this_machine(town):
    session = town("connect", "alice", "bob", "--tunnel", "bob")
    assert session["role"] == "initiator"
    said = town.start("send", "alice", "by the tunnel", "--connect", "bob", "--tunnel", "bob", "--json")
    out, err = said.communicate(timeout=PATIENCE_S)
    assert json.loads(out) == {"messages": 1, "bytes": 13}
    assert "bob: by the tunnel" in err


def test_bridge_of_two_ports(town):
    process = town.start("bridge", "alice", "bob", "--connect", "bob", "--json")
    events = [next_session(process) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    town.end(process, code=130)
    assert {(event["port"], event["event"]) for event in events} == {("alice", "session"), ("bob", "session")}
    assert len({event["session_id"] for event in events}) == 1


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_two_bridges_between_two_machines(town, kind):
    first, second = free_ports(2)
    ends = {
        "udp": (f"udp://127.0.0.1:{first}?local={second}", f"udp://127.0.0.1:{second}?local={first}"),
        "tcp": (f"tcp-listen://127.0.0.1:{first}", f"tcp://127.0.0.1:{first}"),
    }[kind]
    far = town.start("bridge", "bob", ends[0], "--json")
    assert far.stderr.readline().startswith("carrying")
    near = town.start("bridge", "alice", ends[1], "--connect", "bob", "--json")
    events = [next_session(process) for process in (near, far)]
    for process in (near, far):
        process.send_signal(signal.SIGINT)
        town.end(process, code=130)
    assert [event["role"] for event in events] == ["initiator", "responder"]
    assert len({event["session_id"] for event in events}) == 1


def next_session(process):
    """The next session that a bridge reports; others may end before."""
    while (event := json.loads(process.stdout.readline()))["event"] != "session":
        assert event["event"] == "closed", event
    return event


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


# ------------------------------------------------------------------------------ power, weather, years


def test_killed_and_switched_on_again_elsewhere(village):
    """Killing is a power cut; the board comes back hot, at low voltage and years later, and is still itself."""
    before = village("connect", "alice", "bob")
    village.unplug("alice")
    gone = village("info", "alice", code=3)
    assert "ringpair sim alice" in gone["error"]["message"]
    other = village("sim", "alice", "--seed", 99, code=2)
    assert "has silicon with seed 1" in other["error"]["message"]
    village.sim("alice", "--peer", "bob", "--temperature", 70, "--voltage", 1.16, "--age", 5)
    control, _ = attach("alice", village.home)
    with control:
        status = control.status()
    assert (status["temperature"], status["voltage"], status["age"]) == (70, 1.16, 5)
    info = village("info", "alice")
    assert (info["name"], info["session"]) == ("alice", False)
    after = village("connect", "alice", "bob")
    assert after["epoch"] == before["epoch"] + 1
    assert village("info", "alice")["search_tries"] <= 4096


def test_cable_pulled_while_listening_and_connecting(village):
    with listening(village, "alice", "--json") as listener:
        village.unplug("alice")
        (error,) = village.end(listener, code=3)
    assert "cable pulled" in error["error"]["message"]
    connecting = village.start("connect", "bob", "alice", "--json")  # alice is off: bob tries for 14 s
    control, _ = attach("bob", village.home)
    with control:
        control.wait(lambda status: status["peer_out"], PATIENCE_S)
    village.unplug("bob")
    (error,) = village.end(connecting, code=3)
    assert "cable pulled" in error["error"]["message"]


@pytest.mark.parametrize("moment", [0.0, 0.15])
def test_cable_pulled_while_enrolling(tmp_path, moment):
    """Whenever it happens, no device is enrolled and unknown, and the same command again comes to a good end."""
    with shell(tmp_path) as run:
        run.sim("zoe", "--seed", 7)
        run("button", "zoe")
        enrolling = run.start("enroll", "zoe", "--name", "zoe", "--json")
        assert enrolling.stderr.readline().startswith("enrolling zoe")
        time.sleep(moment)
        run.unplug("zoe")
        out, err = enrolling.communicate(timeout=PATIENCE_S)
        assert enrolling.returncode == 3, (out, err)
        assert "cable pulled" in json.loads(out)["error"]["message"]
        run.sim("zoe")
        known = run("registry", "list")["devices"]
        enrolled = run("info", "zoe")["device_id"]
        assert enrolled is None or [(row["id"], row["state"]) for row in known] == [(enrolled, "pending")]
        if enrolled is None:
            for row in known:
                run("registry", "remove", row["name"], "--yes")
            run("button", "zoe")
        zoe = run("enroll", "zoe", "--name", "zoe")
        assert enrolled in (None, zoe["id"])
        assert run("registry", "show", "zoe")["state"] == "active"


# ------------------------------------------------------------------------------ measured silicon


def small_file(folder):
    """Two chips of 200 rings: frequencies that differ by 0.6 %, reads by 10 ppm."""
    rng = np.random.default_rng(5)
    chips = 200e6 * (1 + 0.006 * rng.standard_normal((2, 200, 1)))
    file = folder / "chips.npz"
    np.savez(file, freq_hz=chips * (1 + 1e-5 * rng.standard_normal((2, 200, 12))))
    return file


@pytest.mark.parametrize(
    "source", ["small", pytest.param("real", marks=pytest.mark.skipif(not RO_DATA, reason="RINGPAIR_RO_DATA not set"))]
)
def test_measured_silicon(tmp_path, source):
    """Two chips of a file enroll, pair and connect, and again on other reads after they were off."""
    file = small_file(tmp_path) if source == "small" else sorted(Path(RO_DATA).glob("*.npz"))[0]
    with shell(tmp_path) as run:
        run.sim("left", "--silicon", f"{file}:0", "--peer", "right")
        run.sim("right", "--silicon", f"{file}:1", "--peer", "left")
        left, right = enroll(run, "left", "right")
        assert left != right
        run("pair", "left", "right")
        run("import", "left")
        run("import", "right")
        assert run("connect", "left", "right")["epoch"] == 0
        for name, peer in (("left", "right"), ("right", "left")):
            run.unplug(name)
            run.sim(name, "--peer", peer)  # it remembers what it is made of
        assert run("info", "right")["device_id"] == right
        assert run("connect", "right", "left")["epoch"] == 1


# ------------------------------------------------------------------------------ the end of pairings, registry


def test_revoked_reset_and_enrolled_anew(village):
    assert [row["kind"] for row in village("revoke", "alice", "bob")["revocations"]] == ["revocation"] * 2
    assert [row["outcome"] for row in village("import", "alice")["imported"]] == ["delivered"]
    assert [row["state"] for row in village("peers", "alice")["peers"]] == ["revoked"]
    assert "no live pairing" in village("connect", "alice", "bob", code=1)["error"]["message"]
    assert "--yes" in village("factory-reset", "alice", code=2)["error"]["message"]
    reset = village("factory-reset", "alice", "--yes")
    assert (reset["name"], reset["peers"]) == ("alice", [])
    info = village("info", "alice")
    assert (info["state"], info["device_id"]) == ("factory", None)
    assert village("peers", "alice", code=1)["error"]["code"] == "NOT_ENROLLED"
    village("button", "alice")
    anew = village("enroll", "alice", "--name", "alice2")
    assert anew["id"] != reset["id"]
    village("pair", "alice2", "bob")
    assert [row["kind"] for row in village("import", "bob")["imported"]] == ["revocation", "puzzle"]
    assert [(row["state"], row["name"]) for row in village("peers", "bob")["peers"]] == [("live", "alice2")]


def test_registry_verbs(box, tmp_path):
    shutil.copytree(box[0], tmp_path / "home")
    with shell(tmp_path / "home") as run:
        listed = run("registry", "list")
        assert [(row["name"], row["state"]) for row in listed["devices"]] == [("alice", "active"), ("bob", "active")]
        assert "paired with" in run.text("registry", "list")
        assert run("registry", "rename", "bob", "robert")["name"] == "robert"
        assert run("registry", "show", "alice")["pairings"] == ["robert"]
        run("registry", "export", tmp_path / "backup")
        run("registry", "export", tmp_path / "backup", code=4)
        run("registry", "remove", "robert", "--yes")
        assert run("registry", "import-backup", tmp_path / "backup")["added"] == ["robert"]
        actions = [row["action"] for row in run("registry", "history")["history"]]
        assert actions[:2] == ["create", "enroll"]
        assert actions[-2:] == ["remove", "import"]
        revoked = run("revoke", "alice", "robert", "-o", tmp_path)
        files = sorted(Path(name).name for name in revoked["files"])
        assert files == ["alice-000001.revocation", "robert-000001.revocation"]
        assert [row["kind"] for row in run("registry", "outbox")["outbox"]] == ["revocation"] * 2
