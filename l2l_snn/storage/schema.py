"""The store's tables as the code reads and writes them; the migrations must lead to exactly these.

Numbers that may be nan are NULL where they are nan. Times are seconds since 1970, UTC. Blobs are raw
little-endian float64, but for `states.data`, which is a .npy file's bytes: it says its own type and shape.
"""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Integer, LargeBinary, MetaData, String, Table, Text, text

VERSION = "0003"  # the newest migration; versions compare as text
VERSION_TABLE = "l2l_version"

METADATA = MetaData()
EMPTY = text("''")  # as a default in SQL

RUNS = Table(
    "runs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("job", Text, nullable=False),
    Column("manifest", Text, nullable=False),  # JSON
    Column("space", Text, nullable=False),  # JSON, of Space.to_json
    Column("state", String(10), nullable=False),  # running, finished, stopped, failed
    Column("message", Text, nullable=False),  # why it stopped or failed
    Column("generation", Integer, nullable=False),  # how many are committed: the number of the next
    Column("evaluations", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("best", Double),  # score
    Column("started", Double, nullable=False),
    Column("finished", Double),
    Column("seconds", Double, nullable=False),  # s, of all its drivers together
    # the lease: which driver may write; owner is NULL where none has it
    Column("owner", String(32)),
    Column("host", Text),
    Column("machine", Text),  # equal where a pid means the same process
    Column("pid", Integer),
    Column("pid_started", Double),  # s after the machine's start
    Column("leased", Double),
    Column("stop_requested", Double),  # when somebody asked its driver to stop; NULL: nobody did
    # what users write beside it
    Column("note", Text, nullable=False, server_default=EMPTY),
    Column("tags", Text, nullable=False, server_default=EMPTY),  # words with a space between them
)

GENERATIONS = Table(
    "generations",
    METADATA,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("evaluations", Integer, nullable=False),  # P
    Column("failed", Integer, nullable=False),
    Column("best", Double),  # of the finite scores, as mean and std
    Column("mean", Double),
    Column("std", Double),
    Column("best_so_far", Double),
    Column("seconds", Double),  # s, wall time
    Column("objectives", Integer, nullable=False),  # M
    Column("metrics", Text, nullable=False),  # JSON list of the names, in the order of individuals.metrics
    Column("genomes", Text),  # the file of its large genomes, below the store's folder for them
)

INDIVIDUALS = Table(
    "individuals",
    METADATA,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("individual", Integer, primary_key=True, autoincrement=False),
    Column("seed", BigInteger, nullable=False),
    Column("fitness", Double),  # the score; NULL where failed
    Column("seconds", Double),  # s, of the evaluation
    Column("worker", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("objectives", LargeBinary),  # (M,) where M > 1
    Column("metrics", LargeBinary, nullable=False),
    # (D,), empty where it is in generations.genomes or not kept; last, so that reading the others skips its pages
    Column("z", LargeBinary, nullable=False),
)

STATES = Table(
    "states",
    METADATA,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("field", String(100), primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

WORKERS = Table(
    "workers",
    METADATA,
    Column("run_id", Integer, ForeignKey("runs.id"), primary_key=True),
    Column("worker", Text, primary_key=True),  # host:pid
    Column("generation", Integer, nullable=False),
    Column("first", Integer, nullable=False),  # the individuals that it evaluates; -1, -1: none
    Column("last", Integer, nullable=False),
    Column("since", Double, nullable=False),
)

IDENTITY = Table(  # one row
    "identity",
    METADATA,
    Column("id", String(8), primary_key=True),  # stands in the names of the store's genome files
)
