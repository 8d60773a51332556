from .batch import fit_batch as fit_batch
from .fit import fit as fit
from .optima import Optimum as Optimum
from .population import Population as Population
from .restarts import fit_restarts as fit_restarts
from .select import select as select
from .selection import Cell as Cell, Selection as Selection
from .solution import Solution as Solution
