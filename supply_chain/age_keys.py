"""A detector for detect-secrets: private age keys. It is loaded by path, into the scanners' own environment."""

import re

from detect_secrets.plugins.base import RegexBasedDetector


class AgeKeyDetector(RegexBasedDetector):
    """Finds `AGE-SECRET-KEY-1...` (also the post-quantum form) with enough characters to be one."""

    secret_type = "Private age key"  # noqa: S105 (how findings are called)
    denylist = (re.compile(r"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]{30,}"),)
