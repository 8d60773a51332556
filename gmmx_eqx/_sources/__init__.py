from .abstract import (
    AbstractFacts as AbstractFacts,
    AbstractSource as AbstractSource,
    Chunk as Chunk,
)
from .block import Block as Block, Columns as Columns
from .blocked import Blocks as Blocks
from .blocks import blocks as blocks
from .coverage import (
    check_coverage as check_coverage,
    check_features as check_features,
    features_of as features_of,
)
from .draw import (
    draw_spread as draw_spread,
    DRAWN as DRAWN,
    labels_drawn as labels_drawn,
)
from .every_block import (
    check_blocks as check_blocks,
    each_block as each_block,
    map_blocks as map_blocks,
    total_of as total_of,
)
from .layout import (
    count_patterns as count_patterns,
    Groups as Groups,
    Layout as Layout,
)
from .memory import (
    chunk_size as chunk_size,
    InMemory as InMemory,
    reduce_parts as reduce_parts,
    size_of_chunks as size_of_chunks,
)
from .observed import (
    as_choice as as_choice,
    Observed as Observed,
    observed_of as observed_of,
)
from .observed_facts import (
    divide_slack as divide_slack,
    least_noise as least_noise,
    ObservedFacts as ObservedFacts,
    worst_share as worst_share,
)
from .order import random_order as random_order
from .records import (
    noise_of as noise_of,
    Record as Record,
    Records as Records,
)
from .shard import shard as shard
from .sharded import Sharded as Sharded, source_of as source_of
from .uniform import Uniform as Uniform
