"""python -m l2l_snn.cli is the command l2l."""

from l2l_snn.cli import main

main()
