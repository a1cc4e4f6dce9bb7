#!/bin/sh
# Models trained here, judged on a cohort of another place, with intervals: in a project with bags and labels of both.
# Words: the labels of the external cohort.
set -eu
sammil train --workers 1
sammil evaluate
sammil evaluate --on "$1" --models runs --by site --by sex
