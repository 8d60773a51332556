from .contraction import contraction_rate as contraction_rate
from .error import FitError as FitError
from .fit import fit as fit
from .fit_batch import fit_batch as fit_batch
from .fit_restarts import fit_restarts as fit_restarts
from .optima import Optimum as Optimum
from .population import Population as Population
from .progress import (
    AbstractBlockProgress as AbstractBlockProgress,
    AbstractProgress as AbstractProgress,
)
from .select import select as select
from .selection import Cell as Cell, Selection as Selection
from .solution import Solution as Solution
