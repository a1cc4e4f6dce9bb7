#!/usr/bin/env bash
# A sweep with its plot. Word: the values of mask_ratio, such as 0.3,0.5,0.7.
set -euo pipefail
dvc exp run --queue -S "mask_ratio=$1"
dvc exp run --run-all --jobs 2
sammil figure sweep mask_ratio
