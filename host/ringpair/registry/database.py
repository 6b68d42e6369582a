"""The registry's file: where it lies, how it is opened, one transaction per operation, and errors in plain words.

SQLite's rollback journal makes an operation whole or not done at all, whatever is killed. ``secure_delete`` overwrites
replaced rows with zeros: a wrap key that was used is gone from the file (what a journaling or flash file system keeps
below it is out of a program's reach).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from ringpair.errors import RegistryError, RegistryLocked
from ringpair.portlock import reason

from . import migrate

LOCK_PATIENCE_S = 10.0
"""How long an operation waits for another process to finish its own."""


class Database:
    """A registry file, created or upgraded when needed."""

    def __init__(self, path: Path, patience: float = LOCK_PATIENCE_S) -> None:
        self.path = path
        self._patience = patience
        if path.parent.exists() and not path.parent.is_dir():
            raise RegistryError(f"{path.parent} is not a folder: choose another place for the registry (RINGPAIR_HOME)")
        with self._explained():
            if not path.exists():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            elif not path.is_file():
                raise RegistryError(f"{path} is not a file: choose another place for the registry (RINGPAIR_HOME)")
            migrate.upgrade(path)
            migrate.check(path)
        self._engine = open_engine(path, patience)

    @contextmanager
    def transaction(self, write: bool = True) -> Iterator[Session]:
        """One operation: all of it is on disk afterwards, or nothing after an exception.

        Raises
        ------
        RegistryLocked
            Another process holds the registry for longer than the patience.
        RegistryError
            The file is read-only, damaged, or the disk is full.
        """
        with self._explained(), Session(self._engine, expire_on_commit=False) as session:
            session.connection(execution_options={"write": write})
            yield session
            session.commit()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as problem:
            raise _explain(self.path, problem.orig or problem) from problem
        except (sqlite3.Error, OSError, UnicodeDecodeError) as problem:
            raise _explain(self.path, problem) from problem

    def close(self) -> None:
        """Let the file go."""
        self._engine.dispose()


def open_engine(path: Path, patience: float = LOCK_PATIENCE_S) -> Engine:
    """SQLAlchemy's engine for a registry file, without a pool: a connection lives as long as an operation."""
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool, connect_args={"timeout": patience})
    event.listen(engine, "connect", prepare_connection)
    event.listen(engine, "begin", begin)
    return engine


def prepare_connection(connection: Any, _record: object) -> None:
    """Settings of each new SQLite connection."""
    connection.isolation_level = None  # transactions begin in `begin`, not when the driver guesses
    for setting in ("foreign_keys = ON", "secure_delete = ON", "synchronous = EXTRA"):
        connection.execute(f"PRAGMA {setting}")


def begin(connection: Connection) -> None:
    """Take the write lock at once, so that nobody changes what an operation has read."""
    write = connection.get_execution_options().get("write", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _explain(path: Path, problem: BaseException) -> RegistryError:
    text = str(problem)
    if "locked" in text or "busy" in text:
        return RegistryLocked(f"the registry {path} is in use by another ringpair process: try again when it is done")
    if "readonly" in text or isinstance(problem, PermissionError) or "unable to open" in text:
        return RegistryError(
            f"the registry {path} cannot be written ({text}): check its permissions, its folder's, and the disk's"
        )
    if "full" in text or "disk I/O" in text:
        return RegistryError(f"the registry {path} was not changed: the disk is full or failing ({text}); free space")
    if "malformed" in text or "not a database" in text or isinstance(problem, UnicodeDecodeError):
        return RegistryError(f"the registry {path} is damaged ({text}): restore a backup")
    return RegistryError(
        f"the registry {path} cannot be used: {reason(problem) if isinstance(problem, Exception) else text}; "
        "choose another place (RINGPAIR_HOME or --registry)"
    )
