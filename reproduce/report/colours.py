"""Colours of figures: the palette of Okabe and Ito, which colour-blind readers can tell apart; marks differ in shape as
well. Importing this loads no matplotlib."""

BASE, TRAINED, OTHER, INK, QUIET = "#0072b2", "#d55e00", "#009e73", "#1a1a1a", "#6b6b6b"
PURPLE, SKY, YELLOW = "#cc79a7", "#56b4e9", "#e69f00"
