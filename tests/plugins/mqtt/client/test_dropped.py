"""What Mosquitto drops while headrace is away is told when it is back."""

from pathlib import Path

from headrace_plugins.mqtt.dropped import Dropped


def test_only_what_grew_is_told_and_a_new_beginning_is_none(tmp_path: Path) -> None:
    dropped = Dropped(None, "mqtt://a")
    assert [dropped.grown(count) for count in (7, 7, 10, 2, 3)] == [0, 0, 3, 0, 1]


def test_the_count_outlives_the_process_for_the_same_broker_only(tmp_path: Path) -> None:
    path = tmp_path / "mqtt" / "plant.dropped"
    assert Dropped(path, "mqtt://a").grown(5) == 0
    assert Dropped(path, "mqtt://b").grown(9) == 0
    assert Dropped(path, "mqtt://b").grown(2009) == 2000
    path.write_text("no number")
    assert Dropped(path, "mqtt://b").grown(3) == 0


def test_a_place_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    dropped = Dropped(tmp_path / "file" / "plant.dropped", "mqtt://a")
    assert [dropped.grown(1), dropped.grown(4)] == [0, 3]
