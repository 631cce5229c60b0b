"""Stories with several database connections: nothing is rolled back between the threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.rig import Rig, running_rig
from tests.phones import World, make_world


@pytest.fixture
def wales(transactional_db: None) -> World:
    return make_world("wales")


@pytest.fixture(scope="session")
def whole_rig() -> Iterator[Rig]:
    with running_rig() as rig:
        yield rig


@pytest.fixture
def rig(whole_rig: Rig) -> Iterator[Rig]:
    """Return the running parts; afterwards nobody stands at a failpoint, and all tables agree.

    Modules that use it are one xdist group, so that one process has it.
    """
    yield whole_rig
    whole_rig.control.release()
    assert whole_rig.disagreements() == []
