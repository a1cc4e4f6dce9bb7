"""The memory that one training step takes, measured in a process of its own."""

import json
import subprocess
import sys

_STEP = """
import json, pathlib, sys, torch
from sammil_cli.mil.contract import Bag
from sammil_cli.mil.model_spec import ModelSpec
from sammil_cli.training.trained_model import build_model
torch.set_num_threads(1)
word, options, count = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
none = torch.empty(0, dtype=torch.int64)
bag = Bag(features=torch.randn(count, 1024), group_features=torch.empty(0, 1024), region=torch.full((count,), -1),
          group_region=none, region_area=torch.empty(0))
model = build_model(word, ModelSpec(dim=1024, classes=2, group_features=False), options)
first, generator = model.first_stage(), torch.Generator().manual_seed(0)
if first is not None:
    model.begin(first, [], generator)
sum(model.train().losses(bag, torch.tensor(1), generator).values()).backward()
lines = pathlib.Path("/proc/self/status").read_text().splitlines()  # ru_maxrss would begin with the parent's
print(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20)
"""


def peak_gib(word: str, options: dict[str, object], instances: int = 50_000) -> float:
    """Of all that the process holds: libraries, bag (1024 features), model, losses and their gradients."""
    command = [sys.executable, "-c", _STEP, word, json.dumps(options), str(instances)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
