"""Retraining: what a schedule runs comes to its end early when there is nothing new."""

RETRAINING = ("--pipeline", "retraining")


def test_trains_once_and_then_not_before_something_changes(workplace):
    first = workplace.run(options=RETRAINING)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "no run has finished yet" in first.stdout
    assert "registered  crossface-sample version 1" in first.stdout

    idle = workplace.run(options=RETRAINING)
    assert idle.returncode == 0, idle.stdout + idle.stderr
    assert "nothing is new since the last finished run, so nothing was trained" in idle.stdout
    assert "ingest" not in idle.stdout

    labels = workplace.root / "data" / "sample" / "rafdb" / "EmoLabel" / "list_patition_label.txt"
    labels.write_text(labels.read_text() + "nobody_00001.jpg 9\n")  # a label that ingest refuses
    changed = workplace.run(options=RETRAINING)
    assert "data or settings are new" in changed.stdout
    assert changed.returncode == 1, "it went on to ingest"
    assert "list_patition_label.txt" in changed.stderr
