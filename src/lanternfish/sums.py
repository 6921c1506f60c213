"""A flag for a jaxlib that sums products of long arrays wrongly on CPUs, set before it computes.

jaxlib 0.10.2, the last for Python 3.11, hands sum(a * b) to a library that then reads one of them
at wrong places (jax issue 39103); 0.10.1 and 0.11 do not. XLA reads its flags when it computes for
the first time.
"""

import os
import sys
import warnings
from importlib.metadata import PackageNotFoundError, version

_WRONG = ("0.10.2",)
OPTION, DOTS_ALONE = "xla_cpu_experimental_ynn_fusion_type", "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
_FLAG = f"--{OPTION}={DOTS_ALONE}"


def sum_rightly() -> None:
    """Set the flag where this jaxlib needs it; warn where it comes too late."""
    flags = os.environ.get("XLA_FLAGS", "")
    found = _jaxlib()
    if OPTION in flags or found not in _WRONG:
        return
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and bridge.backends_are_initialized():
        warnings.warn(
            f"Expected lanternfish to be imported before JAX computes; got JAX at work: jaxlib "
            f"{found} sums products wrongly on CPUs (jax issue 39103). Import lanternfish "
            f"first, or set XLA_FLAGS={_FLAG}.",
            stacklevel=3,
        )
    os.environ["XLA_FLAGS"] = f"{_FLAG} {flags}".strip()  # first: some flags end what XLA reads


def _jaxlib() -> str | None:
    try:
        return version("jaxlib")
    except PackageNotFoundError:
        return None
