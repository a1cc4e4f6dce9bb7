#!/usr/bin/env bash
# Five raw slides to evidence in QuPath. Words: a model (a run, a project, a bundle) and a table of slides.
set -euo pipefail
sammil predict "$1" "$2" --out results --device cpu
