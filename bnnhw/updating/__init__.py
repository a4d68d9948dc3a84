"""Other weights in a bitstream that is there already.

An updatable build (``bnnhw build --updatable``) keeps all that was trained in block RAM. What is synthesized, placed and routed
has pseudo-random words there, which depend on nothing but the memories' names and sizes: so networks of one shape have one
routed design. Random columns are found again wherever the tools have put them, in the netlist and in the routed design, and the
network's own words take their places.

``contents`` reads memories in Verilog and fills them with random words; ``cells`` knows where the bits of a family's block RAM
stand in Verilog and routed designs; ``patch`` finds columns and replaces them; ``base`` is the design with random words.
"""
