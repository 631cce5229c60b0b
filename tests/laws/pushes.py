"""Random pushes over few rows, so that they get into each other's way.

    assets A B <── work orders O R P <── notes          A, O and R exist from the start

Edits have bases that may be old or ahead, references that may dangle, values that are refused. A
drawn edit has a lag in the place of its `base_version`; `with_bases` fills it in.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, TypeVar

from hypothesis import strategies as st

from tests.laws.shop import SITE
from tests.phones import create, delete, update

ASSETS = [str(uuid.UUID(int=number)) for number in (11, 12)]
ORDERS = [str(uuid.UUID(int=number)) for number in (21, 22, 23)]
NOTES = [str(uuid.UUID(int=number)) for number in (31, 32)]
NOWHERE = str(uuid.UUID(int=99))
# How far behind the row's version an edit is when it is pushed; it may be ahead, or not say.
LAGS = st.sampled_from([0, 0, 0, 1, 1, 1, 1, 2, -1, None])
DELETE_LAGS = st.sampled_from([0, 1])
ASSET_REFERENCES = st.sampled_from([None, *ASSETS])

Batch = dict[str, Any]
T = TypeVar("T")


def _itself(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """`one_of` gives each of its strategies one share; sampled_from(...).flatmap gives several."""
    return strategy


def _some(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return one or more of `fields`."""
    return st.fixed_dictionaries({}, optional=fields).filter(bool)


_order_fields: dict[str, st.SearchStrategy[Any]] = {
    "title": st.sampled_from("uvwxyz"),
    "priority": st.sampled_from([1, 2, 4, 99]),  # 99 is refused
    "asset": ASSET_REFERENCES,
    "description": st.sampled_from(["", "leaks"]),
}
_asset_fields: dict[str, st.SearchStrategy[Any]] = {
    "category": st.sampled_from(["pump", "boiler"]),
    "brand": st.sampled_from(["", "Vaillant"]),
}
_creates = st.one_of(
    st.builds(
        lambda row_id, site, asset: create(
            "work_orders", row_id, kind="repair", site=site, title="x", asset=asset
        ),
        st.sampled_from(ORDERS[::-1]),
        st.sampled_from([SITE, SITE, SITE, NOWHERE]),
        ASSET_REFERENCES,
    ),
    st.builds(
        lambda row_id, category: create("assets", row_id, site=SITE, category=category),
        st.sampled_from(ASSETS[::-1]),
        st.sampled_from(["pump", "boiler"]),
    ),
    st.builds(
        lambda row_id, order: create("notes", row_id, work_order=order, text="rust"),
        st.sampled_from(NOTES),
        st.sampled_from(ORDERS),
    ),
)
_updates = st.one_of(
    st.builds(
        lambda row_id, lag, data: update("work_orders", row_id, lag, **data),
        st.sampled_from([ORDERS[0], *ORDERS]),
        LAGS,
        _some(_order_fields),
    ),
    st.builds(
        lambda row_id, lag, data: update("assets", row_id, lag, **data),
        st.sampled_from([ASSETS[0], ASSETS[0], ASSETS[1]]),
        LAGS,
        _some(_asset_fields),
    ),
)
_deletes = st.one_of(
    st.builds(delete, st.just("work_orders"), st.sampled_from(ORDERS), DELETE_LAGS),
    st.builds(delete, st.just("assets"), st.sampled_from(ASSETS), DELETE_LAGS),
)
_mutations = st.sampled_from([_updates] * 5 + [_creates] * 2 + [_deletes]).flatmap(_itself)
_grouped = st.builds(
    lambda mutation, group: mutation | ({"group": group} if group else {}),
    _mutations,
    st.sampled_from([None, None, None, "visit"]),
)

per_row: st.SearchStrategy[Batch] = st.builds(
    lambda mutations: {"policy": "per_row", "mutations": mutations},
    st.lists(_grouped, min_size=1, max_size=4),
)
all_or_nothing: st.SearchStrategy[Batch] = st.builds(
    lambda mutations: {"policy": "all_or_nothing", "mutations": mutations},
    st.lists(_mutations, min_size=1, max_size=3),
)
batches = st.sampled_from([per_row, per_row, all_or_nothing]).flatmap(_itself)
FIRST: Batch = {  # O and A have been edited once: an old base meets another edit
    "policy": "per_row",
    "mutations": [
        create("assets", ASSETS[0], site=SITE, category="pump"),
        update("assets", ASSETS[0], None, category="valve"),
        create("work_orders", ORDERS[0], kind="repair", site=SITE, title="s", asset=ASSETS[0]),
        update("work_orders", ORDERS[0], None, title="t"),
        create("work_orders", ORDERS[1], kind="repair", site=SITE, title="s"),
    ],
}


def of_phone(batch: Batch, number: int) -> Batch:
    """Return the push with the ids that this phone would make; known rows keep theirs."""
    text = json.dumps(batch)
    for made in (ASSETS[1], ORDERS[2], *NOTES):
        text = text.replace(made, str(uuid.UUID(int=uuid.UUID(made).int + 1000 * (number + 1))))
    phones: Batch = json.loads(text)
    return phones


def with_bases(batch: Batch, versions: Mapping[tuple[str, str], int]) -> Batch:
    """Return the push as a phone would send it that knows these versions, or older ones."""

    def based(mutation: dict[str, Any]) -> dict[str, Any]:
        if "base_version" not in mutation:
            return mutation
        version = versions.get((mutation["collection"], mutation["id"]), 1)
        return mutation | {"base_version": max(1, version - mutation["base_version"])}

    return {**batch, "mutations": [based(mutation) for mutation in batch["mutations"]]}
