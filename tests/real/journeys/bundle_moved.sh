#!/bin/sh
# A model bundled, moved to another folder, used: STUDY FOLDER SLIDES
set -eu
sammil bundle "$1" -o "$2/model.sammil"
cd "$2"
sammil bundle show model.sammil
sammil predict model.sammil "$3" --out verdicts
