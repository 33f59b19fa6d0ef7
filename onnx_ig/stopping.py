"""When path points are enough: what the estimate of the remaining error is made of.

The one idea: an attribution model in a file stops by the numbers by which the engine stops, so that both take the same
points.
"""

from __future__ import annotations

# The rate at which changes are taken to shrink further. Where a gradient jumps along the path (ReLU), no rule does
# better than half the error per doubling, and a change that was smaller before was luck, after which a usual one is not
# slow; slower than 0.7 is no limit to trust.
FASTEST, SLOWEST = 0.5, 0.7
# A change this much smaller than the one before is more than the luck of jumps, but for few of them: the gradient is
# smooth, and a tenth of the change is to come. Half of it is five times as careful, for those few.
SMOOTH, SMOOTH_LEFT = 0.1, 0.5
# Of a jump in an interval of width h, halving the interval changes the integral by h/4 times the jump, always, and
# leaves an error evenly spread over ±h/4, √3 times smaller in the mean. Where every other interval is halved, half of
# the jumps change it, and the others have an error evenly spread over ±h/2: √(5/3) times the change in the mean. The
# error there should be 0.79 of that before; much less is luck as well.
BETWEEN, LEAST_BETWEEN = 1.8, 0.6
# Beyond as many intervals a convergence delta is no sign of points between which something was missed, but of an F
# whose change is not the integral of its gradient (rounding, a jump), which further points do not change.
DELTA_TELLS = 256
# Errors of opposite sign cancel in a convergence delta, so that the attributions are further off than it says.
# Without it two levels that miss the same jumps would look alike.
CANCELLED = 3.0
ROUNDINGS = 16  # of F, that a convergence delta may hold
