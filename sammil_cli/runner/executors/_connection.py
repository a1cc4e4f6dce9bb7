"""The way to a Dask scheduler, with TLS where its address says so."""

import gc
from pathlib import Path
from typing import Any

from sammil_cli.errors import MissingError

CONNECT_SECONDS = 10.0
_TLS = "distributed.comm.tls"


def connect(address: str) -> Any:
    """A Dask client.

    Raises:
        MissingError: nobody answers there, or one of the two asks for TLS and the other does not have it.
    """
    import distributed

    _check_tls(address)
    try:
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, RuntimeError) as error:
        trouble = " ".join(str(error).split())
    # A client that failed closes itself when it is collected: now, for in the middle of another one's start it would
    # wait for that one for ever.
    gc.collect()
    raise MissingError(
        f"no Dask scheduler answers at {address}: {trouble}",
        remedy="start one: dask scheduler; or mend --scheduler or SAMMIL_SCHEDULER (tls://… where the scheduler "
        "has TLS, with certificates of the same authority: docs/cluster.md, TLS)",
    )


def _check_tls(address: str) -> None:
    """Names what Dask's configuration lacks for an address `tls://…`; Dask's own message does not."""
    import dask.config

    if not address.startswith("tls://"):
        return
    for name in ("ca-file", "client.cert", "client.key"):
        value = dask.config.get(f"{_TLS}.{name}", None)
        if value is None and name != "client.key":  # a certificate's file may hold its key
            trouble = f"Dask's configuration has no {_TLS}.{name}"
        elif value is not None and "\n" not in value and not Path(value).is_file():
            trouble = f"{value} ({_TLS}.{name} in Dask's configuration) does not exist"
        else:
            continue
        variable = f"DASK_{_TLS}.{name}".upper().replace(".", "__").replace("-", "_")
        raise MissingError(
            f"--scheduler {address}: {trouble}",
            remedy=f"name the file in ~/.config/dask/distributed.yaml or as {variable}: docs/cluster.md, TLS",
        )
