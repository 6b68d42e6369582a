"""The same sums on a Dask cluster: each worker reads pieces of the files and sums them, the sums are added in order.

Scheduler and workers need this version of ringpair[cluster], and the files under the same paths.
"""

from __future__ import annotations

import logging
import operator
import re
from collections import deque
from importlib import import_module
from importlib.metadata import version
from typing import Any

from ringpair.errors import RingpairError, UsageError

from .dataset import Dataset, batch_size
from .work import Progress, S, Work, summed

__all__ = ["Cluster"]

CONNECT_SECONDS = 10
PIECE_BATCHES = 4
"""Batches of one task: enough that sending sums around costs little."""
AHEAD = 2
"""Tasks of each thread that are sent ahead, so that it never waits; sums of no more are held at once."""


class Cluster:
    """Makes sums on a cluster; a context manager.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://host:8786``.

    Raises
    ------
    UsageError
        No such address, or the libraries are not installed.
    RingpairError
        The scheduler does not answer, has no workers, or they have another version of ringpair.
    """

    def __init__(self, address: str) -> None:
        if not re.fullmatch(r"(tcp|tls)://\S+:\d+", address):
            raise UsageError(f"expected the address of a Dask scheduler, such as tcp://HOST:8786, got {address!r}")
        try:
            connect = import_module("distributed").Client
        except ModuleNotFoundError as error:
            raise UsageError(f"{error.name} is not installed: pip install 'ringpair[cluster]'") from error
        self.address = address
        for name in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # we say ourselves what is wrong
        try:
            self._client: Any = connect(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise RingpairError(f"no Dask scheduler answers at {address}: start one, or look at the address") from error
        try:
            self._threads = self._check_workers()
        except BaseException:
            self._client.close()
            raise

    def _check_workers(self) -> int:
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        if not workers:
            raise RingpairError(f"the Dask scheduler at {self.address} has no workers: start some")
        for worker, found in self._client.run(_version, on_error="return").items():
            if found != _version():
                text = f"ringpair {found}" if isinstance(found, str) else f"no ringpair ({found})"
                raise RingpairError(f"worker {worker} has {text}, we have {_version()}: install the same everywhere")
        return sum(worker["nthreads"] for worker in workers.values())

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def __call__(self, data: Dataset, work: Work[S], progress: Progress) -> S:
        """Sums of all chips."""
        try:
            return self._total(data, work, progress)
        except RingpairError:
            raise
        except Exception as error:  # whatever goes wrong out there
            raise RingpairError(
                f"the Dask cluster at {self.address} failed: {type(error).__name__}: {error}; scheduler and workers "
                "need ringpair[cluster] as we have it, and enough memory"
            ) from error

    def _total(self, data: Dataset, work: Work[S], progress: Progress) -> S:
        client = self._client
        shared = client.scatter(work, broadcast=True, hash=False)
        waiting: deque[tuple[int, Any]] = deque()
        total = None
        for first, piece in data.pieces(PIECE_BATCHES * batch_size(data)):
            part = client.submit(summed, shared, piece, first, pure=False)
            total = part if total is None else client.submit(operator.add, total, part, pure=False)
            waiting.append((first + piece.chips, total))
            if len(waiting) > AHEAD * self._threads:
                done, future = waiting.popleft()
                _finished(future)
                progress(done)
        waiting.clear()
        assert total is not None  # every data set has a piece
        sums: S = total.result()
        progress(data.chips)
        return sums


def _finished(future: Any) -> None:
    """Wait, without fetching the sums."""
    error = future.exception()
    if error is not None:
        raise error


def _version() -> str:
    return version("ringpair")
