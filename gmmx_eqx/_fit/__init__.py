from .fit import fit as fit
from .solution import Solution as Solution
