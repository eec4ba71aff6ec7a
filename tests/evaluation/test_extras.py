import sys

import pytest

from fireredtts2.evaluation.extras import PACKAGES, MissingPackageError, load_extra


@pytest.mark.parametrize("module", sorted(PACKAGES))
def test_a_missing_package_is_named_with_its_cure(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    monkeypatch.delitem(sys.modules, module, raising=False) if "." in module else None
    with pytest.raises(MissingPackageError, match=f"'{PACKAGES[module]}'.*pip install"):
        load_extra(module)


def test_a_module_that_is_there_is_returned() -> None:
    assert load_extra("json").loads("1") == 1
