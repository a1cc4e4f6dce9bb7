"""Found first by all Python processes of a soak: notes computations, and lets slides called `flood-…` take memory."""

import functools
import hashlib
import importlib.abc
import importlib.machinery
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_WORKER = "sammil_cli.runner.worker"
_FLOOD_BYTES = 3 << 28


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the worker's module as always, and wraps its one function that does a slide."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name == _WORKER else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_wrap(module: ModuleType) -> None:
            execute(module)
            module.in_fresh_folder = _noted(module.in_fresh_folder)  # type: ignore[attr-defined]

        spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec


def key_digest(key: Mapping[str, object]) -> str:
    """The same for a key as a worker has it, and as the store has written it."""
    return hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _noted(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def noted(work: object, folder: Path, record: Mapping[str, Any], job: object) -> Any:
        slide = next(value.stem for value in vars(job).values() if isinstance(value, Path))
        facts = {"stage": record["stage"], "slide": slide, "key": key_digest(record["key"])}
        _note("begin", facts)
        if slide.startswith("flood-"):
            held = bytearray(_FLOOD_BYTES)
            held[::4096] = bytes(len(held[::4096])).replace(b"\0", b"\1")
            time.sleep(1)
        answer = function(work, folder, record, job)
        _note("end", facts)
        return answer

    return noted


def _note(event: str, facts: Mapping[str, object]) -> None:
    line = {"event": event, "at": time.time(), "pid": os.getpid(), "run": os.environ.get("SOAK_RUN", ""), **facts}
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]  # what limits the command must not cost a line
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    log = os.open(os.environ["SOAK_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:  # one write: lines of several processes do not mix
        os.write(log, (json.dumps(line) + "\n").encode("utf-8", "surrogateescape"))
    finally:
        os.close(log)


if "SOAK_LOG" in os.environ:
    sys.meta_path.insert(0, _Finder())
