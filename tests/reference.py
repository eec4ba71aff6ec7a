"""Where the reference numbers lie: beside the checkout, or where FIREREDTTS2_REFERENCE says."""

import os
from pathlib import Path

import pytest

REFERENCE = Path(
    os.environ.get(
        "FIREREDTTS2_REFERENCE", Path(__file__).resolve().parents[2] / "shared" / "reference"
    )
)
needs_reference = pytest.mark.skipif(
    not REFERENCE.is_dir(), reason=f"no reference numbers at {REFERENCE}"
)
