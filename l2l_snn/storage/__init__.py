"""What is kept: runs with their generations, individuals and states in a database, large genomes in files.

This page is the contract; `Store` (store.py) reads and administers, `drive` (driver.py) writes.

What is atomic
    A generation: its individuals, its row, the run's totals and the optimizer's state after it become visible in one
    transaction, or none of them does. So are a report of the workers, a finish, a copy, an import of a run (each run
    by itself), deleting runs (all that are named together) and thinning (each generation by itself). A reader's
    `read` or `reading` sees one state of the store, however long it takes.
    A file of large genomes is written under another name, synced and renamed before the commit that names it, and
    never changed after that.

What is there after a kill
    Whatever ends a driver, at whatever moment (SIGKILL, power), the run goes on from its last committed generation,
    one with generations to the same bytes as if it had not stopped. A commit that returned survives the kill of the
    process; after a power loss SQLite may lack the last commits, but never has half of one. A kill between file and
    commit leaves a file that no generation names: `prune.sweep` removes it. A killed driver's run reads as "stopped"
    on its own machine.
    A SQLite file that is deleted, moved or replaced while a driver has it open ends the driver with a StoreError at its
    next report or commit; all that was stored until then is in a new file beside it, `l2l-rescued-1.db`.
    A commit whose answer was lost with the connection isn't made twice. A lost server is waited for 120 s, then a
    StoreError tells what to do; nothing of the attempt stays.

Who may write
    One driver a run: `drive` takes a lease, and RunBusy refuses a second one unless the first is certainly dead (a
    process of this boot and pid namespace that is gone) or `take_over` says so; the former driver's next write is then
    refused. Anyone may ask for a stop, copy a run or export it while it is driven; deleting and thinning are refused.
    Drivers of several runs write to one store at once; SQLite lets them wait for each other for up to 30 s.

Threads and processes
    Threads may share a `Store` and a driver. Processes open their own, also after a fork. SQLite is for processes of
    one machine and a local disk, PostgreSQL for several machines.

What comes back bit for bit
    z, seeds, fitness (nan and infinities too), metrics, errors, seconds and the arrays of a state with their type and
    shape. Exceptions: the sign of a zero fitness on SQLite; which nan a fitness or a time was; characters that
    databases refuse (NUL, lone surrogates) are left out or replaced; a genome that the job's `genomes` or `l2l prune`
    forgot raises GenomeMissing, while its fitness and metrics stay.

What the bytes are
    No pickle, nowhere: reading a store or an export runs no code of it. Numbers are columns, arrays little-endian
    float64, a state's arrays are .npy bytes by dotted name (states.py); the structure comes from the code. A state
    whose form differs from that of the optimizer of today is refused in a line that names the fields.

Versions
    A store of an older version is migrated when it is opened (migrations/), in one transaction; one of a newer version
    is refused. Tables, pictures of tables and exports of every older run stay readable.
"""

DEFAULT_STORE = "sqlite:///l2l.db"  # in the current folder
