#!/bin/sh
# Features in hand to the AUC of a model: FEATURES LABELS SPLITS PROJECT
set -eu
sammil init "$4" --from-features "$1" --labels "$2" --splits "$3"
cd "$4"
sammil check
dvc repro
