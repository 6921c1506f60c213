"""Compiled programs are kept on disk, so that a user waits for a compilation once.

JAX's persistent cache goes to ``JAX_COMPILATION_CACHE_DIR`` where that is set, otherwise to the
user's cache folder. A JAX configured otherwise before the first import of this package stays so.
"""

import os
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any

import equinox as eqx
import jax

from lanternfish.sums import DOTS_ALONE, OPTION

# YNNPACK is quick at products of matrices, and slow at sums along the first axis
_FAST = {OPTION: DOTS_ALONE}
_BRIEF = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}


def keep_compilations() -> None:
    """Turn the persistent cache on, unless somebody has decided about it."""
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    jax.config.update("jax_compilation_cache_dir", str(Path(home) / "lanternfish" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def fast_jit(function: Callable, *, brief: bool = False, **keywords: Any) -> Callable:
    """``equinox.filter_jit`` with what makes arrays of a flow fast on CPUs.

    Args:
        brief: for a program that takes longer to compile than to run: it compiles in half the time
            and runs up to a third longer.
        keywords: of ``filter_jit``.
    """
    wanted = _FAST | _BRIEF if brief else _FAST

    @cache
    def compiled() -> Any:
        options: Any = {"compiler_options": _known(**wanted), **keywords}
        return eqx.filter_jit(function, **options)

    @wraps(function)
    def run(*args):
        return compiled()(*args)

    return run


@cache
def _known(**options: Any) -> dict[str, Any]:
    """Those compiler options that this XLA knows."""

    def known(name: str) -> bool:
        try:
            jax.jit(lambda: 0, compiler_options={name: options[name]}).lower().compile()
        except jax.errors.JaxRuntimeError:
            return False
        return True

    return {name: value for name, value in options.items() if known(name)}
