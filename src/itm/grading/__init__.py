"""The grade of a pair: whether its caption is true, and how much it says; on numpy alone, without torch."""

from itm.grading.calibrator import Calibrator, Multiplicity
from itm.grading.fit import fit_calibrator
from itm.grading.scorer import Graded

__all__ = ["Calibrator", "Graded", "Multiplicity", "fit_calibrator"]
