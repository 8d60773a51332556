from .fit_variational import fit_variational as fit_variational
from .posterior import Posterior as Posterior
