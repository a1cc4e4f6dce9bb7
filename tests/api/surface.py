"""What docs/python.md promises to keep, as text; written anew by `make project-files`."""

import dataclasses
import importlib
import inspect
import sys

from sammil_cli import api

# What functions give and nobody makes: their modules bring torch or scikit-learn along.
GIVEN = (
    "bundles.ensemble.Verdict",
    "bundles.facts.BundleFacts",
    "report.comparison_tables.Difference",
    "report.metrics.Predictions",
    "stages.predicted_patients.PatientVerdict",
    "studies.benchmark.Benchmarked",
    "studies.compare.RunsCompared",
    "training.model_facts.ModelFacts",
)


def surface() -> str:
    """All names, with signatures of functions and fields of dataclasses."""
    lines = []
    for name in GIVEN:
        module, _, kind = name.rpartition(".")
        value = getattr(importlib.import_module(f"sammil_cli.{module}"), kind)
        fields = getattr(value, "model_fields", None) or [field.name for field in dataclasses.fields(value)]
        lines.append(f"{kind}: {', '.join(fields)}")
    for name in api.__all__:
        value = getattr(api, name)
        if inspect.isfunction(value):
            lines.append(f"{name}{inspect.signature(value)}")
        elif dataclasses.is_dataclass(value):
            lines.append(f"{name}: {', '.join(field.name for field in dataclasses.fields(value))}")
        else:
            lines.append(name)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(surface())
