"""The gate: the floors that a candidate must reach, and what it may not lose to the champion."""
