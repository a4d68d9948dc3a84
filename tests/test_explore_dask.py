"""A real Dask scheduler and two workers on this machine, one of which is killed."""
import os
import signal
from collections import Counter
from functools import partial

import pytest

from bnnhw.exploring import pools, worker
from bnnhw.exploring.store import Store

from . import cluster
from .test_explore import quick_tools, some

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

__all__ = ["quick_tools"]
JOBS = 6


def gone(tool, folder):
    return not cluster.alive(tool) and not folder.exists()


def test_a_killed_worker_loses_nothing(tmp_path):
    work, child = some(JOBS), cluster.child(tmp_path, 1)
    with cluster.cluster(tmp_path, 2) as (address, (_, *workers)), Store(tmp_path / "runs.sqlite") as store:
        victim = None
        for job, row in pools.on_dask(work, address, partial(worker.perform, command=child)):
            store.add(job, row)
            if victim is None and len(store.rows()) == 2:
                def busy():
                    """Attempts that run at both workers."""
                    found = [attempt for attempt in cluster.attempts(tmp_path) if cluster.alive(attempt[2])]
                    return len({worker for _, worker, _, _ in found}) == 2 and found
                fps, victim, tool, folder = cluster.until(busy, "two busy workers")[0]
                assert victim in [process.pid for process in workers]
                os.kill(victim, signal.SIGKILL)
                cluster.until(partial(gone, tool, folder), "end of the killed worker's tool and folder", 10)
        rows = store.rows()
    assert sorted(row["fps"] for row in rows) == [job.fps for job, _ in work]
    assert {row["status"] for row in rows} == {"done"}
    tries = Counter(fps for fps, *_ in cluster.attempts(tmp_path))
    assert tries[fps] >= 2, "the job that was lost was done again"
    by = {fps: worker for fps, worker, *_ in cluster.attempts(tmp_path)}
    assert len(set(by.values())) == 2 and all(not row["worker"].endswith(f":{victim}") for row in rows if row["fps"] == fps)


def test_a_scheduler_that_goes_away(tmp_path):
    """The jobs that were done by then are kept."""
    done, child = [], cluster.child(tmp_path, 1)
    with pytest.raises(pools.ClusterError, match="^the scheduler at tcp://127.0.0.1:.* is gone: what was done by then is kept$"):
        with cluster.cluster(tmp_path, 1) as (address, (scheduler, *_)):
            for job, _ in pools.on_dask(some(4), address, partial(worker.perform, command=child)):
                done.append(job)
                os.kill(scheduler.pid, signal.SIGKILL)
    assert 1 <= len(done) <= 2
