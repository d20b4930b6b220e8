"""A place in the feed survives restores: events are repeated then, never missed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from webhooks.domain.places import Place, resumed


def test_without_a_restore_reading_goes_on_where_it_ended() -> None:
    assert resumed(Place(7, 40), [Place(7, 0)], Place(7, 90)) == (40, False)


def test_a_restart_that_lost_nothing_repeats_nothing() -> None:
    assert resumed(Place(7, 40), [Place(7, 0), Place(8, 40)], Place(8, 90)) == (40, False)


def test_a_place_beyond_the_restored_head_goes_back_to_it() -> None:
    assert resumed(Place(7, 40), [Place(7, 0), Place(8, 25)], Place(8, 90)) == (25, True)


def test_the_earliest_of_several_restores_counts() -> None:
    assert resumed(Place(7, 40), [Place(7, 0), Place(8, 25), Place(9, 30)], Place(9, 31)) == (25, True)
    assert resumed(Place(8, 28), [Place(7, 0), Place(8, 25), Place(9, 30)], Place(9, 31)) == (28, False)


@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(0, 100)), max_size=12), st.integers(0, 12), st.integers(0, 100)
)
def test_a_reader_misses_no_event_of_the_present_feed(
    lives: list[tuple[int, int]], read_in: int, reads_to: int
) -> None:
    """A feed with restores: each life appends events, then loses all behind some position. A reader that read in one of the
    lives, up to any position of it, and goes on in the last has been shown every event that exists now."""
    feed: list[str] = []
    epochs: list[Place] = []
    seen: set[str] = set()
    place = Place(0, 0)
    for epoch, (appended, lost) in enumerate([*lives, (0, 0)], 1):
        epochs.append(Place(epoch, len(feed)))
        feed += [f"{epoch}.{n}" for n in range(appended)]
        if epoch - 1 == read_in:
            place = Place(epoch, min(reads_to, len(feed)))
            seen.update(feed[: place.position])
        del feed[max(len(feed) - lost, 0) :]
    going_on = resumed(place, epochs, Place(len(epochs), len(feed)))
    seen.update(feed[going_on.position :])
    assert seen >= set(feed)
