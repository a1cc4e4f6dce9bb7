"""Python runs this first in every process of the test: it lends sammil a format of slides with hostile readers."""

from pathlib import Path

from sammil_cli.slides import formats

formats.__path__.append(str(Path(__file__).parent / "formats"))
