from .batch import fit_batch as fit_batch
from .contraction import contraction_rate as contraction_rate
from .error import FitError as FitError
from .optima import Optimum as Optimum
from .population import Population as Population
from .progress import AbstractProgress as AbstractProgress
from .restarts import fit_restarts as fit_restarts
from .selection import Cell as Cell, Selection as Selection
from .single import fit as fit
from .solution import Solution as Solution
from .sweep import select as select
