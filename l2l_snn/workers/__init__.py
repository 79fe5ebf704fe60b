"""Who evaluates: chunks of a generation, in this process or over Ray workers."""
