"""When path points are enough: what the estimate of the remaining error is made of.

The one idea: an attribution model in a file stops by the numbers by which the engine stops, so that both take the same
points.
"""

from __future__ import annotations

# The rate at which changes are taken to shrink further. Where a gradient jumps along the path (ReLU), no rule does
# better than half the error per doubling, and a faster change before was luck; slower than 0.7 is no limit to trust.
FASTEST, SLOWEST = 0.5, 0.7
# Of a jump in an interval of width h, halving the interval changes the integral by h/4 times the jump, always, and
# leaves an error evenly spread over ±h/4, √3 times smaller in the mean. Where every other interval is halved, half of
# the jumps change it, and the others have an error evenly spread over ±h/2: √5 times the change is as careful in the
# mean, and √8 times among few jumps. The error there should be 0.79 of that before; much less is luck as well.
BETWEEN, LEAST_BETWEEN = 8**0.5, 0.6
# Beyond as many intervals a convergence delta is no sign of points between which something was missed, but of an F
# whose change is not the integral of its gradient (rounding, a jump), which further points do not change.
DELTA_TELLS = 256
# Errors of opposite sign cancel in a convergence delta, so that the attributions are further off than it says.
# Without it two levels that miss the same jumps would look alike.
CANCELLED = 3.0
ROUNDINGS = 16  # of F, that a convergence delta may hold
