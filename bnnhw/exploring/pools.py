"""Keeps many jobs going: on a Dask cluster, or as subprocesses of this process."""

import concurrent.futures
import contextlib
import importlib.util
import itertools
import logging

from ..errors import UserError
from . import leash, worker

__all__ = ["ClusterError", "local", "on_dask", "subprocesses"]

CONNECT_S = 10
WINDOW = 64         # jobs at Dask's, each with its network; more wait here


class ClusterError(UserError):
    """A cluster that cannot be reached, or is gone."""


def _failed(job, error):
    return {"key": job.key, "status": "failed", "reason": f"{type(error).__name__}: {error}", "seconds": 0.0, "worker": "none",
            "finished": ""}


def subprocesses(work, count, perform=worker.perform):
    """Do jobs, ``count`` at a time, each as a subprocess of this process.

    Parameters
    ----------
    work : list of (Job, bytes)
        Jobs and their networks' files.
    perform : callable (Job, bytes) -> dict

    Yields
    ------
    (Job, dict)
        As they are done; the dict is what ``perform`` gave.
    """
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        running = {threads.submit(perform, *item): item[0] for item in work}
        try:
            for future in concurrent.futures.as_completed(running):
                yield running[future], future.result()
        finally:    # Ctrl-C, or nobody wants more
            threads.shutdown(wait=False, cancel_futures=True)
            leash.let_go()


def local(work, count, perform=worker.perform):
    """As :func:`subprocesses`, on a Dask cluster of this process where Dask is installed."""
    if importlib.util.find_spec("distributed") is None:
        yield from subprocesses(work, count, perform)
        return
    from distributed import LocalCluster
    with LocalCluster(n_workers=1, threads_per_worker=count, processes=False, dashboard_address=None, memory_limit=0,
                      silence_logs=logging.CRITICAL) as cluster:
        try:
            yield from on_dask(work, cluster, perform)
        finally:
            leash.let_go()


def on_dask(work, cluster, perform=worker.perform, say=lambda text: None):
    """Do jobs on a Dask cluster.

    Dask's key of a job is the job's. A job whose worker is lost is done again by another; one that was lost with several (Dask's
    ``allowed-failures``) fails. If this process ends, the jobs that are running end at their own time, and nobody has their
    results.

    Parameters
    ----------
    work, perform
        As of :func:`subprocesses`.
    cluster : str or distributed cluster
        A scheduler's address.
    say : callable (str)
        Told when there is nobody to do the work.

    Yields
    ------
    (Job, dict)

    Raises
    ------
    ClusterError
    """
    from distributed import CancelledError, Client, as_completed
    from distributed.comm import get_address_host_port
    for name in ("distributed.client", "distributed.batched", "distributed.comm"):      # what matters of it is said here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        if isinstance(cluster, str):    # a client of no address says so again when it is collected
            get_address_host_port(cluster)
        client = Client(cluster, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {cluster}: {error}") from None
    with contextlib.closing(client):
        if not client.scheduler_info(n_workers=-1)["workers"]:
            say(f"the scheduler at {cluster} has no workers yet: start some with `dask worker {cluster} --nthreads 1`")
        waiting, running = iter(work), {}

        def submit(count):
            for job, model in itertools.islice(waiting, count):
                future = client.submit(perform, job, model, key=f"bnnhw-{job.key}", pure=True)
                running[future.key] = job
                yield future
        done = as_completed(submit(WINDOW), loop=client.loop)
        for future in done:
            job = running.pop(future.key)
            try:
                result = future.result()
            except CancelledError:
                raise ClusterError(f"the scheduler at {cluster} is gone: what was done by then is kept") from None
            except Exception as error:      # whatever a worker may raise, KilledWorker among it
                result = _failed(job, error)
            future.release()
            done.update(submit(1))
            yield job, result
