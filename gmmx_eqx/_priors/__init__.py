from .ridge import (
    AbstractRidge as AbstractRidge,
    as_ridge as as_ridge,
    RelativeRidge as RelativeRidge,
    Ridge as Ridge,
    RidgeLike as RidgeLike,
)
