"""A short run of `torture.py` with all kinds of faults, and one that has to fail. `TORTURE_SECONDS` and `TORTURE_SEED` are
those of the first."""

import os
import random
import unittest

from torture import Run

SECONDS = float(os.environ.get("TORTURE_SECONDS", 60))
SEED = int(os.environ.get("TORTURE_SEED", random.SystemRandom().randrange(1 << 32)))


class TortureTests(unittest.TestCase):
    def torture(self, *arguments, **more):
        run = Run(*arguments, **more)
        self.addCleanup(run.remove)
        run.go()
        return run.tally.violations

    def test_nothing_acknowledged_is_lost_or_comes_back(self):
        self.assertEqual(self.torture(SECONDS, SEED), [], f"the seed was {SEED}")

    def test_a_run_notices_what_is_lost(self):
        lost = self.torture(3, SEED, ["lose"], agree_seconds=3, is_quiet=True)
        self.assertTrue(any("was acknowledged" in violation for violation in lost), lost)


if __name__ == "__main__":
    unittest.main()
