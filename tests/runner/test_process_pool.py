"""Folds train in copies of the process where that is safe, in new processes elsewhere."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sammil_cli.errors import SammilError
from sammil_cli.runner.isolation import process_pool

# What `importlib` is asked for is unknown to a new process, and known to a copy of this one.
SCRIPT = """\
import importlib.util, sys, threading, types
from sammil_cli.runner.isolation import process_pool
print("main", flush=True)
sys.modules["only_here"] = types.ModuleType("only_here")
if "thread" in sys.argv:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
with process_pool(1, gpu="gpu" in sys.argv) as pool:
    try:
        pool.schedule(importlib.util.find_spec, args=["only_here"]).result()
    except ValueError:  # it is there, without a spec
        print("copy")
    else:
        print("new")
"""


@pytest.mark.parametrize(
    ("name", "word", "kind"),
    [("sammil", "", "copy"), ("sammil", "gpu", "new"), ("sammil", "thread", "new"), ("mine.py", "", "new")],
)
def test_only_the_command_is_copied_from_its_one_thread_and_without_gpu(
    tmp_path: Path, name: str, word: str, kind: str
) -> None:
    (tmp_path / name).write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, tmp_path / name, word], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == (f"main\n{kind}\n", "")  # a script of yours needs no `if __name__` guard


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [(signal.SIGKILL, "E_MEMORY", "as it does when memory runs out"), (signal.SIGABRT, "E_CRASH", "ended (SIGABRT)")],
)
def test_a_process_that_was_killed_is_said_in_words(number: signal.Signals, code: str, words: str) -> None:
    with pytest.raises(SammilError, match=re.escape(words)) as told, process_pool(1) as pool:
        pool.schedule(signal.raise_signal, args=[number]).result()
    assert told.value.code == code
    assert "run the same command again" in told.value.remedy
