"""Every way in which a disk, another process or another file can fail the registry; and its upgrades and backups."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from ringpair.errors import RegistryError, RegistryLocked, WrongPassphrase
from ringpair.registry import Registry, export, import_backup, migrate
from ringpair.registry.database import Database
from ringpair_protocol.pairing import DeviceEntry

from host.tests.rig_registry import SECRECY, chain, entry
from protocol.tests.rig import IDENTITY

# ------------------------------------------------------------------------------ processes and disks

NEXT = f"{int(migrate.HEAD) + 1:04}"
"""The revision of a later release."""
PREAMBLE = """
import os, resource, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.orm import Session
from ringpair.registry import Registry, Secrecy
path = Path(sys.argv[1])
registry = Registry(path, Secrecy("correct horse"))
registry.unlock()
"""


def run(code, path):
    command = [sys.executable, "-c", PREAMBLE + code, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def pristine(path):
    """Nothing of a pairing is there, and the file is whole."""
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with Registry(path, SECRECY) as registry:
        assert registry.outbox(everything=True) == []
        assert registry.pairings() == []
        assert registry.entry(registry.find("alice")) == entry(1)
        assert registry.entry(registry.find("bob")) == entry(2)


@pytest.mark.parametrize("moment", ["after_flush", "before_commit"])
def test_killed_in_the_middle_of_a_pairing(registry, path, moment):
    done = run(
        f"""
event.listen(Session, "{moment}", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
registry.pair("alice", "bob")
""",
        path,
    )
    assert done.returncode == -signal.SIGKILL
    pristine(path)


def test_killed_with_pages_written(registry, path):
    """The kill comes when the rollback journal is on disk and the database file is already changed."""
    done = run(
        """
def spill(session, *_):
    connection = session.connection()
    connection.exec_driver_sql("PRAGMA cache_spill = 1")
    connection.exec_driver_sql("PRAGMA cache_size = 1")
    for number in range(300):
        connection.exec_driver_sql("INSERT INTO log (at, action, detail) VALUES ('', '', hex(zeroblob(2000)))")
    assert Path(str(path) + "-journal").stat().st_size > 0
    assert path.stat().st_size > 300_000
    os.kill(os.getpid(), signal.SIGKILL)
event.listen(Session, "after_flush", spill)
registry.pair("alice", "bob")
""",
        path,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert Path(f"{path}-journal").exists()
    pristine(path)
    assert path.stat().st_size < 300_000


def test_full_disk(registry, path):
    """A file size limit of the system stands for the disk: writing beyond it fails in the middle of the commit."""
    done = run(
        """
from ringpair.errors import RegistryError
size = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))
try:
    registry.pair("alice", "bob")
except RegistryError as problem:
    print(problem)
""",
        path,
    )
    assert "was not changed: the disk is full or failing" in done.stdout, done.stderr
    pristine(path)


def test_read_only_registry():
    code = """
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
from ringpair.errors import RegistryError
print(len(registry.devices()))
try:
    registry.pair("alice", "bob")
except RegistryError as problem:
    print(problem)
"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.sqlite"
        with Registry(path, SECRECY) as registry:
            for number, name in enumerate(("alice", "bob"), start=1):
                registry.add(entry(number), name, IDENTITY)
                registry.confirm(name)
        path.chmod(0o444)
        os.chmod(folder, 0o555)
        done = run(code, path)
        os.chmod(folder, 0o755)
        assert done.stdout.startswith("2\n"), done.stderr
        assert "cannot be written" in done.stdout
        pristine(path)


def test_a_place_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryError, match="is not a folder"):
        Registry(tmp_path / "file" / "registry.sqlite")
    with pytest.raises(RegistryError, match="is not a file"):
        Registry(tmp_path)


def test_two_at_once(registry, path):
    """One waits for the other; who waits too long is told, and nothing is lost."""
    impatient = Registry(path, SECRECY)
    impatient.unlock()
    impatient.database.close()
    impatient.database = Database(path, patience=0.1)
    with registry.database.transaction():
        with pytest.raises(RegistryLocked, match="in use by another ringpair process"):
            impatient.pair("alice", "bob")
        assert len(impatient.devices()) == 3  # reading goes on
    impatient.pair("alice", "bob")
    impatient.close()


def test_several_processes_lose_nothing(registry, path):
    code = """
for _ in range(5):
    registry.advance("alice", 1)
"""
    command = [sys.executable, "-c", PREAMBLE + code, str(path)]
    children = [subprocess.Popen(command) for _ in range(3)]
    assert [child.wait(60) for child in children] == [0] * 3
    assert registry.entry(registry.find("alice")) == DeviceEntry(entry(1).device_id, chain(1, 15), 15)


def test_two_create_the_registry_at_once(tmp_path):
    path = tmp_path / "new.sqlite"
    children = [
        subprocess.Popen([sys.executable, "-c", PREAMBLE, str(path)], stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for child in children:
        _, errors = child.communicate(timeout=60)
        assert child.returncode == 0, errors
    with Registry(path, SECRECY) as registry:
        registry.unlock()


def test_who_creates_the_vault_second_takes_the_first(tmp_path):
    """Between looking for a vault and making one, another process made it."""
    path = tmp_path / "new.sqlite"
    with Registry(path, SECRECY) as first, Registry(path, SECRECY) as second:
        first.unlock()
        second._vault = second._create_vault()
        second.add(entry(1), "alice", IDENTITY)
        assert first.entry(first.find("alice")) == entry(1)


# ------------------------------------------------------------------------------ other files


def test_files_that_are_no_registry(tmp_path):
    text = tmp_path / "text"
    text.write_text("this is a letter, and longer than the header of a database would be " * 5)
    with pytest.raises(RegistryError, match="not a ringpair registry"):
        Registry(text)
    foreign = tmp_path / "foreign"
    with closing(sqlite3.connect(foreign)) as database:
        database.execute("CREATE TABLE cookies (name)")
    with pytest.raises(RegistryError, match="of another program"):
        Registry(foreign)


def test_cut_off_registry(registry, path):
    registry.close()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(RegistryError, match=r"damaged|not a ringpair registry"):
        Registry(path, SECRECY).pair("alice", "bob")


def test_registry_of_a_newer_release(registry, path):
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RegistryError, match="revision 9999, this release knows up to 0002: update"):
        Registry(path)


def test_head_is_the_last_migration():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


def test_migrations_make_the_tables_of_the_models(path):
    """A fresh registry differs in nothing from what the models say."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from ringpair.registry.database import open_engine
    from ringpair.registry.models import Base

    Registry(path).close()
    with open_engine(path).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


@pytest.fixture
def next_release(tmp_path):
    """The migrations with one more, as a later release will have them."""
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    for file in ("env.py", *(f"versions/{path.name}" for path in (migrate.MIGRATIONS / "versions").glob("0*.py"))):
        (folder / file).write_text((migrate.MIGRATIONS / file).read_text())

    def make(body):
        (folder / "versions" / f"{NEXT}_next.py").write_text(
            "from alembic import op\nimport sqlalchemy as sa\n"
            f'revision = "{NEXT}"\ndown_revision = "{migrate.HEAD}"\n\n\ndef upgrade():\n' + body
        )
        return folder

    return make


def dump(path):
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def test_upgrade_keeps_a_copy(registry, path, next_release):
    registry.pair("alice", "bob")
    registry.close()
    before = dump(path)
    folder = next_release('    op.add_column("devices", sa.Column("note", sa.String))\n')
    backup = migrate.upgrade(path, NEXT, folder)
    assert migrate.revision_of(path) == NEXT
    assert migrate.revision_of(backup) == migrate.HEAD
    assert dump(backup) == before
    assert backup.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name, note FROM devices WHERE wrap_index = 1").fetchall() == [
            ("alice", None),
            ("bob", None),
        ]


def test_failed_upgrade_changes_nothing(registry, path, next_release):
    registry.close()
    before = path.read_bytes()
    folder = next_release('    op.drop_table("log")\n    raise ValueError("in the middle")\n')
    with pytest.raises(ValueError, match="in the middle"):
        migrate.upgrade(path, NEXT, folder)
    assert migrate.revision_of(path) == migrate.HEAD
    assert path.read_bytes() == before


def test_backup_of_an_older_revision_is_upgraded_on_import(registry, tmp_path):
    """Its tables are brought up to date on a copy; the backup itself stays as it is."""
    export(registry, tmp_path / "backup", "correct horse", cost=10)
    before = (tmp_path / "backup").read_bytes()
    with Registry(tmp_path / "new", SECRECY) as other:
        assert sorted(import_backup(other, tmp_path / "backup", "correct horse").added) == ["alice", "bob", "carol"]
    assert (tmp_path / "backup").read_bytes() == before


def test_older_backup_never_turns_a_device_back(registry, tmp_path):
    export(registry, tmp_path / "old", "backup", cost=10)
    registry.pair("alice", "bob")
    registry.remove("carol")
    merged = import_backup(registry, tmp_path / "old", "backup")
    assert (merged.added, merged.advanced, sorted(merged.kept)) == (["carol"], [], ["alice", "bob"])
    assert registry.entry(registry.find("alice")) == entry(1).successor()
    assert registry.entry(registry.find("carol")) == entry(3)
    assert len(registry.outbox()) == 2


def test_newer_backup_brings_an_old_registry_forward(registry, tmp_path, path):
    old = tmp_path / "old.sqlite"
    registry.close()
    migrate.copy(path, old)
    with Registry(path, SECRECY) as newer:
        newer.pair("alice", "bob")
        export(newer, tmp_path / "new", "backup", cost=10)
        with Registry(old, SECRECY) as restored:
            merged = import_backup(restored, tmp_path / "new", "backup")
            assert sorted(merged.advanced) == ["alice", "bob"]
            assert restored.entry(restored.find("alice")) == entry(1).successor()
            assert [m.body for m in restored.outbox()] == [m.body for m in newer.outbox()]
            assert len(restored.pairings()) == 1
            import_backup(restored, tmp_path / "new", "backup")
            assert len(restored.pairings()) == 1


def test_backup_errors(registry, tmp_path):
    export(registry, tmp_path / "backup", "backup", cost=10)
    with pytest.raises(RegistryError, match="exists"):
        export(registry, tmp_path / "backup", "backup", cost=10)
    with pytest.raises(WrongPassphrase):
        import_backup(registry, tmp_path / "backup", "other")
    with pytest.raises(RegistryError, match="there is no backup"):
        import_backup(registry, tmp_path / "nothing", "backup")
    with pytest.raises(RegistryError, match="cannot write"):
        export(registry, tmp_path / "no" / "folder", "backup", cost=10)
    (tmp_path / "letter").write_text("Dear all, " * 100)
    with pytest.raises(RegistryError, match="not a ringpair registry"):
        import_backup(registry, tmp_path / "letter", "backup")
