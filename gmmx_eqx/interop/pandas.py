from typing import Any


def to_pandas(table: Any) -> Any:
    """A `pandas.DataFrame` of anything that has columns, as a `to_dict` method."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "`to_pandas` needs pandas: `pip install pandas`. `to_dict()` gives the "
            "same columns without it."
        ) from error
    return pandas.DataFrame(table.to_dict())
