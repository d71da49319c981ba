"""Files and atomic writes, errors, configuration, papers and arms, slices, the machine."""
