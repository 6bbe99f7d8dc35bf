import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.errors import StoreDamaged
from heliograph.messages import Kind
from heliograph.store import cells, tiers
from heliograph.store.cells import DAY, FIVE_MINUTES_MS, HOUR_MS, Cells, DaySpan, Track
from heliograph.store.tiers import FIVE_MINUTES, HOUR, Blob, Tier
from heliograph.store.vectors import ops


def day_cells(day: int, kind: Kind = "gauge", step: int = 600) -> tuple[Cells, DaySpan]:
    times = range(day * DAY + 1000, (day + 1) * DAY, step * 1000)
    track = Track(ops.ints(times), ops.floats([(time // 1000 % 97) / 10 for time in times]))
    return cells.of_day(track, day, FIVE_MINUTES_MS, kind, 0.0), cells.span(track)


def month(kind: Kind = "gauge") -> Tier:
    days = [day_cells(day, kind) for day in (10, 11, 14)]
    spans = [span for _, span in days] if kind != "counter" else []
    return Tier(cells.concat([day for day, _ in days]), spans, frozenset({12, 17}))


def same(one: Cells | None, other: Cells | None) -> bool:
    assert one is not None
    assert other is not None
    pairs = zip(one, other, strict=True)
    return all(
        (a is None and b is None) or (a is not None and b is not None and a.tolist() == b.tolist()) for a, b in pairs
    )


@pytest.mark.parametrize("kind", ["gauge", "counter", "text"])
def test_a_tier_is_decoded_as_it_was_encoded(kind: Kind) -> None:
    tier = month(kind)
    if kind == "text":
        tier = tier._replace(spans=[])
    blob = Blob(tiers.encode(tier, 5 * DAY, FIVE_MINUTES_MS), 5 * DAY, FIVE_MINUTES_MS)
    decoded = blob.tier()
    assert same(decoded.cells, tier.cells)
    assert decoded[1:] == tier[1:]
    assert (blob.has("area"), blob.has("carry")) == (kind == "gauge", kind == "counter")


def test_only_the_requested_columns_are_decoded() -> None:
    blob = Blob(tiers.encode(month(), 0, FIVE_MINUTES_MS), 0, FIVE_MINUTES_MS)
    decoded = blob.cells({"min"})
    assert decoded is not None
    assert [name for name, column in decoded._asdict().items() if column is not None] == ["start", "n", "min"]
    whole = month().cells
    assert whole is not None
    assert same(decoded, whole.only({"min"}))


def test_a_tier_without_cells_still_has_its_bare_days() -> None:
    blob = Blob(tiers.encode(Tier(None, [], frozenset({3, 9})), 0, HOUR_MS), 0, HOUR_MS)
    assert blob.tier() == Tier(None, [], frozenset({3, 9}))
    assert Blob(tiers.encode(tiers.EMPTY, 0, HOUR_MS), 0, HOUR_MS).tier() == tiers.EMPTY


@given(st.data())
def test_any_broken_tier_is_a_damaged_store(data: st.DataObject) -> None:
    whole = tiers.encode(month(), 0, FIVE_MINUTES_MS)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for bad in (whole[:cut], whole[:cut] + bytes([whole[cut] ^ data.draw(st.integers(1, 255))]) + whole[cut + 1 :]):
        with pytest.raises(StoreDamaged):
            Blob(bad, 0, FIVE_MINUTES_MS).tier()


def test_a_later_version_is_refused() -> None:
    blob = bytearray(tiers.encode(month(), 0, FIVE_MINUTES_MS))
    blob[0] = 2
    with pytest.raises(StoreDamaged, match="version 2"):
        Blob(bytes(blob), 0, FIVE_MINUTES_MS).cells()


@pytest.mark.parametrize(
    ("seconds", "grain"),
    [(3600, HOUR), (86_400, HOUR), (300, FIVE_MINUTES), (1800, FIVE_MINUTES), (420, None), (1, None)],
)
def test_the_coarsest_cells_that_no_edge_cuts_are_taken(seconds: int, grain: tiers.Grain | None) -> None:
    edges = list(itertools.accumulate([seconds * 1000] * 5, initial=20_000 * DAY))
    assert tiers.of_edges(ops.ints(edges)) == grain
