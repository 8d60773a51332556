from .frozen import Frozen as Frozen
from .guard import amplification as amplification
from .maximisation import maximise as maximise
from .packed import expect_packed as expect_packed
from .packings import AbstractPacking as AbstractPacking, packing as packing
from .plain import EM as EM, EMState as EMState
from .residual import expect as expect, Expectation as Expectation
from .solver import AbstractEM as AbstractEM, AbstractEMState as AbstractEMState
from .squarem import SQUAREM as SQUAREM, SQUAREMState as SQUAREMState
from .step import EMStep as EMStep, Kernel as Kernel, StepInfo as StepInfo
