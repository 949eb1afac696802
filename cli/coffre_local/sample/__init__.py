"""Casa, the sample application database of the demo and the tests, and the comparison of two databases row by row."""

from coffre_local.sample.fingerprint import SequenceState, TableFingerprint, fingerprint, sequences
from coffre_local.sample.sample import DatabaseNotEmptyError, SampleSummary, damage, load

__all__ = [
    "DatabaseNotEmptyError",
    "SampleSummary",
    "SequenceState",
    "TableFingerprint",
    "damage",
    "fingerprint",
    "load",
    "sequences",
]
