"""Pictures of mixtures and fits, with matplotlib."""

try:
    import matplotlib as _matplotlib
except ImportError as _error:
    raise ImportError(
        "`gmmx_eqx.plotting` needs matplotlib: `pip install 'gmmx_eqx[plotting]'`."
    ) from _error

from .convergence import plot_convergence as plot_convergence
from .mixture import plot_mixture as plot_mixture
from .optima import plot_optima as plot_optima
from .pairs import plot_pairs as plot_pairs
from .responsibilities import plot_responsibilities as plot_responsibilities
from .selection import plot_selection as plot_selection
from .uncertainty import plot_uncertainty as plot_uncertainty


del _matplotlib
