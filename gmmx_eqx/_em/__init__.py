from .complete import Complete as Complete
from .e_step import (
    AbstractEStep as AbstractEStep,
    Expectation as Expectation,
)
from .em import EM as EM, EMState as EMState
from .frozen import Frozen as Frozen
from .in_turn import InTurn as InTurn
from .incomplete import Incomplete as Incomplete
from .incremental import (
    Incremental as Incremental,
    IncrementalState as IncrementalState,
)
from .maximisation import (
    maximise as maximise,
    with_equal_weights as with_equal_weights,
)
from .packed import packed_moments as packed_moments
from .packings import (
    AbstractPacking as AbstractPacking,
    packed_length as packed_length,
    packing as packing,
)
from .passes import AbstractPasses as AbstractPasses
from .running import Running as Running
from .solver import (
    AbstractEM as AbstractEM,
    AbstractEMState as AbstractEMState,
    Record as Record,
    Step as Step,
)
from .squarem import SQUAREM as SQUAREM, SQUAREMState as SQUAREMState
from .step import (
    Attempt as Attempt,
    EMStep as EMStep,
    MStep as MStep,
    StepInfo as StepInfo,
)
from .stepwise import Stepwise as Stepwise, StepwiseState as StepwiseState
