"""How Hypothesis searches: the same examples each time, however slow or busy the machine is.

`HYPOTHESIS_PROFILE=search` searches anew with each run.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("search", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
