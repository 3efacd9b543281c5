"""Who judges what, by the certificate's `objective`. A third kind of task is one more line here."""

from stitchrl.audit.certificate import Judge
from stitchrl.audit.goals import GOALS
from stitchrl.audit.returns import RETURNS

JUDGES: dict[str, Judge] = {"goal": GOALS, "return": RETURNS}
