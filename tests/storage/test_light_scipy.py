"""scipy computes as it does, and a process that leaves its docstrings alone parses none of them."""

import subprocess
import sys

COMPUTED = """
import sys
if sys.argv[1] == "light":
    from sammil_cli.storage.light_scipy import leave_docstrings
    leave_docstrings()
    leave_docstrings()
import numpy as np
import scipy.linalg, scipy.ndimage, scipy.stats
from scipy._lib import _docscrape
from sklearn.metrics import roc_auc_score
draw = np.random.default_rng(3)
a, b = draw.normal(size=(2, 40))
print([
    scipy.stats.rankdata(a).tobytes().hex(), scipy.stats.ttest_ind(a, b, axis=0, nan_policy="omit").pvalue.hex(),
    scipy.stats.norm.ppf([0.1, 0.9], loc=2).tobytes().hex(), scipy.ndimage.gaussian_filter(a, 2).tobytes().hex(),
    scipy.linalg.svdvals(a.reshape(8, 5)).tobytes().hex(), roc_auc_score(a > 0, a + b).hex(),
])
print(len(_docscrape.FunctionDoc(scipy.stats.rankdata)["Parameters"]) > 0, "axis" in scipy.stats.rankdata.__doc__)
"""


def run(how: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", COMPUTED, how], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_numbers_are_the_same_and_no_docstring_is_parsed() -> None:
    whole, light = run("whole"), run("light")
    assert whole[0] == light[0]
    assert (whole[1], light[1]) == ("True True", "False True")
