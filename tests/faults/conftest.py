"""Stories with several database connections: nothing is rolled back between the threads."""

from __future__ import annotations

import pytest

from tests.phones import World, make_world


@pytest.fixture
def wales(transactional_db: None) -> World:
    return make_world("wales")
