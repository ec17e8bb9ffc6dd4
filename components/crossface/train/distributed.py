"""Several processes that train one network on one machine (DistributedDataParallel)."""

import os
import signal
from collections.abc import Callable, Mapping
from contextlib import nullcontext, redirect_stdout
from datetime import timedelta
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from crossface.errors import CrossfaceError

_PATIENCE = timedelta(hours=1)  # that the others have while the first evaluates, or saves to a slow store


class WorkerError(CrossfaceError):
    """A process of several failed."""


def rank() -> int:
    """Number of this process, from 0; alone: 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes; alone: 1."""
    return dist.get_world_size() if dist.is_initialized() else 1


def device() -> torch.device:
    """The GPU of this process, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of every process's ``values``, in place and without a gradient; alone: as they are."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of the whole batch, [n, ...] of each process one below the other; gradients flow back."""
    if not dist.is_initialized():
        return rows
    return torch.cat(all_gather(rows.contiguous()))


def said_by_first(value: bool) -> bool:
    """What the first process says, on all of them."""
    if not dist.is_initialized():
        return value
    said = torch.tensor([value], dtype=torch.int64, device=device())
    dist.broadcast(said, src=0)
    return bool(said.item())


def wait_for_all() -> None:
    """Go on when every process is here."""
    if dist.is_initialized():
        dist.barrier()


def run_processes(count: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``work(*arguments)`` in ``count`` processes of this machine, under torchrun's own supervision.

    Args:
        count: of processes.
        work: a function of a module; it, its arguments and its result must pass between processes.
        arguments: for it.

    Returns:
        What the first process returned.

    Raises:
        WorkerError: a process failed; the others were stopped.
    """
    with TemporaryDirectory(prefix="crossface-") as logs:
        return _supervised(count, logs, work, *arguments)


def _supervised(count: int, logs: str, work: Callable[..., Any], *arguments: Any) -> Any:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        logs_specs=DefaultLogsSpecs(log_dir=logs),
        run_id=str(os.getpid()),
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    handlers = {number: signal.getsignal(number) for number in _SUPERVISED}
    try:
        return elastic_launch(config, _in_group)(work, *arguments)[0]
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        raise WorkerError(f"process {number} of {count}: {_reason(failure.message)}") from None
    except SignalException as error:
        _restore(handlers)
        signal.raise_signal(error.sigval)
        raise
    finally:
        _restore(handlers)


_SUPERVISED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals that torchrun passes on to the processes; it does not give its handlers back."""


def _reason(message: Any) -> str:
    """What torchrun has of a failure: the exception's line among other things, or a line of its own."""
    return str(message["message"] if isinstance(message, dict) else message)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None:  # None: set by C, and not to be had back
            signal.signal(number, handler)


def _in_group(work: Callable[..., Any], *arguments: Any) -> Any:
    """What each process runs. Only the first one speaks."""
    place = device()
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=_PATIENCE)
    with nullcontext() if rank() == 0 else redirect_stdout(None):
        done = work(*arguments)
    dist.destroy_process_group()  # not after an error: others may wait in it for this process
    return done
