"""What things are called in the registry: aliases, and tags of a version."""

from crossface.model.served import MODEL_TAG as MODEL_TAG
from crossface.tracking import CHAMPION as CHAMPION

CHALLENGER = "challenger"
"""The newest version that the gate let in."""
PREVIOUS = "previous-champion"
"""The version that a rollback returns to."""

VERDICT_TAG = "crossface.verdict"
"""One of the three words below."""
PASSED, REFUSED = "passed", "refused"
VERDICT_SENTENCE_TAG = "crossface.verdict_sentence"
COMPARED_WITH_TAG = "crossface.compared_with"
"""The version that the verdict is about: the champion or, of a copy in int8, its source; empty when there was
none."""
PRECISION_TAG = "crossface.precision"
FP32_VERSION_TAG = "crossface.fp32_version"
"""Of a version in int8: the one of which it is a copy."""

DATA_TAG = "crossface.data_digest"
TEST_MANIFEST_TAG = "crossface.test_manifest_sha256"
COMMIT_TAG = "crossface.commit"
IMAGE_TAG = "crossface.image_digest"
KFP_RUN_TAG = "crossface.kfp_run"
MLFLOW_RUN_TAG = "crossface.mlflow_run"

PREVIOUS_TAG = "crossface.previous"
"""The champion that a version took over from; empty when there was none."""
PROMOTED_AT_TAG = "crossface.promoted_at"
PROMOTED_BY_TAG = "crossface.promoted_by"
WHY_TAG = "crossface.why"
ROLLED_BACK_TAG = "crossface.rolled_back"
"""Why a version is champion no more. A rollback never returns to it; a promotion takes the tag away."""
ROLLED_BACK_AT_TAG = "crossface.rolled_back_at"
ROLLED_BACK_BY_TAG = "crossface.rolled_back_by"

ROLLBACK_TAG = "crossface.rollback"
"""On the registered model, while a rollback is under way: ``<from> <to>``."""
