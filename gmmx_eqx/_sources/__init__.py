from .abstract import AbstractSource as AbstractSource, Chunk as Chunk
from .memory import (
    chunk_size as chunk_size,
    InMemory as InMemory,
    reduce_parts as reduce_parts,
)
