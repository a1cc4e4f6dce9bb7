#!/bin/sh
# Features in hand, regions found in them, SAM-MIL trained and judged: FEATURES LABELS PROJECT
set -eu
sammil init "$3" --from-features "$1" --labels "$2" --regions features
cd "$3"
dvc repro
