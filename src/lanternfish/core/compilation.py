"""Compiled programs are kept on disk, so that a user waits for a compilation once.

JAX's persistent cache goes to ``JAX_COMPILATION_CACHE_DIR`` where that is set, otherwise to the
user's cache folder. A JAX configured otherwise before the first import of this package stays so.
"""

import os
from pathlib import Path

import jax


def keep_compilations() -> None:
    """Turn the persistent cache on, unless somebody has decided about it."""
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    jax.config.update("jax_compilation_cache_dir", str(Path(home) / "lanternfish" / "jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
