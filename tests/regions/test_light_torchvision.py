"""SAM's engine loads neither torch's compiler nor timm, which take longer than torch itself; encoders only timm."""

import subprocess
import sys

from sammil_cli.regions.light_torchvision import import_torchvision

LOADED = """
import sys
from sammil_cli.config import SamSettings
from sammil_cli.regions.proposers import sam
sam.check(SamSettings(proposer="sam").model_dump(), "cpu")
import sammil_cli.regions.sam_engine.generator, sammil_cli.regions.sam_models.build
print(sorted({"torch._dynamo", "torch._dynamo.utils", "timm", "torchvision"} & set(sys.modules)))
"""


def test_sam_loads_neither_torchs_compiler_nor_timm() -> None:
    found = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['torchvision']"


PUBLISHED = """
import sys
from sammil_cli.features.encoder_row import encoder_row
from sammil_cli.features.published_network import build_network
build_network(encoder_row("lunit_dino"))
print(sorted({"torch._dynamo", "timm"} & set(sys.modules)))
import torch
assert torch.compiler.disable.__module__ == "torch.compiler"
"""


def test_the_network_of_a_published_encoder_is_built_without_torchs_compiler() -> None:
    found = subprocess.run([sys.executable, "-c", PUBLISHED], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['timm']"


def test_torchvisions_question_is_answered_by_the_compiler_itself() -> None:
    assert import_torchvision().ops.roi_align.__module__ == "torchvision.ops.roi_align"
    asked = sys.modules["torchvision.ops.roi_align"].is_compile_supported
    answers = asked("cpu"), asked("meta")
    from torch._dynamo.utils import is_compile_supported

    assert answers == (is_compile_supported("cpu"), is_compile_supported("meta"))
