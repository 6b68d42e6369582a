"""Bring a registry's tables up to date, with a copy of the file put aside first.

The revision lies in the table ``alembic_version``; Alembic itself, slow to import, is loaded only when there is
something to do.
"""

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ringpair.errors import RegistryError

log = logging.getLogger(__name__)

HEAD = "0002"
"""The newest revision in ``migrations/versions``; a test compares the two."""
MIGRATIONS = Path(__file__).parent / "migrations"


def revision_of(path: Path) -> str | None:
    """Revision of the registry at ``path``, None if the file has no tables yet.

    Raises
    ------
    RegistryError
        It is another kind of file, or of another program.
    """
    with closing(sqlite3.connect(path)) as database:
        try:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except (sqlite3.DatabaseError, UnicodeDecodeError) as problem:
            if not any(sign in str(problem) for sign in ("not a database", "malformed", "codec")):
                raise
            raise RegistryError(
                f"{path} is not a ringpair registry ({problem}): restore a backup, or move the file away"
            ) from problem
        if not tables:
            return None
        if "alembic_version" not in tables:
            raise RegistryError(f"{path} is the database of another program: choose another place (RINGPAIR_HOME)")
        row = database.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None


def check(path: Path) -> None:
    """Whether the file at ``path`` is whole: its pages, its constraints, and that no row points to one that is gone.

    Raises
    ------
    RegistryError
        It is damaged.
    """
    with closing(sqlite3.connect(path)) as database:
        (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        lost = database.execute("PRAGMA foreign_key_check").fetchone()
    if verdict != "ok" or lost:
        told = verdict if verdict != "ok" else f"a row of {lost[0]} points to none of {lost[2]}"
        raise RegistryError(f"the registry {path} is damaged ({' '.join(str(told).split())}): restore a backup")


def upgrade(path: Path, head: str = HEAD, migrations: Path = MIGRATIONS) -> Path | None:
    """Upgrade the registry at ``path``; returns the copy that was made of an older one.

    Each migration runs in one transaction: if it fails, or the process dies, the file is as before.

    Raises
    ------
    RegistryError
        The registry was made by a newer release.
    """
    revision = revision_of(path)
    if revision == head:
        return None
    backup = None
    if revision is not None:
        if revision not in {file.name.partition("_")[0] for file in (migrations / "versions").glob("*.py")}:
            raise RegistryError(
                f"{path} has revision {revision}, this release knows up to {head}: update ringpair (pip install -U)"
            )
        backup = path.with_name(f"{path.name}.{revision}.backup")
        copy(path, backup)
        log.warning("the registry is upgraded from revision %s to %s; the old one stays in %s", revision, head, backup)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["path"] = path
    command.upgrade(config, head)
    return backup


def copy(source: Path, target: Path) -> None:
    """A consistent copy of a database that others may be using, readable by its owner only."""
    target.unlink(missing_ok=True)
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
            old.backup(new)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
