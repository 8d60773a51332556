"""What says how sure a fit is: results of standard errors, bootstraps and tests."""

from ._inference import (
    Bootstrap as Bootstrap,
    LeaveOneOut as LeaveOneOut,
    StandardErrors as StandardErrors,
    Uncertain as Uncertain,
)
