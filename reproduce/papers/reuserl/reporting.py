"""The parts of ReuseRL's report that are its own."""

from reproduce.core.paper import Reporting
from reproduce.papers.reuserl.figures import draw_figures
from reproduce.papers.reuserl.sections import further_sections, positive_controls, scope

REPORTING = Reporting(scope, positive_controls, draw_figures, further_sections)
