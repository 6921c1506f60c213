"""Ground truth: samplers of the exact posterior, for models whose likelihood is known.

Needs BlackJAX and polyagamma: ``pip install 'lanternfish[reference]'``. What they return is
compared with ``diagnostics.compare(run.posterior, reference.samples)``.
"""

from lanternfish.diagnostics.reference.nuts import nuts
from lanternfish.diagnostics.reference.polya_gamma import polya_gamma
from lanternfish.diagnostics.reference.samples import Reference

__all__ = ["Reference", "nuts", "polya_gamma"]
