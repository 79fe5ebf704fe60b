"""What is kept: runs, generations, individuals and states in a database, large genomes in files."""
