from local_cluster.pruning import choose_stale


def test_only_what_nothing_names_any_more_is_stale() -> None:
    entries = ["0a", "0b", "0c", ".0d.tmp"]
    assert choose_stale(entries, {"0b"}) == ["0a", "0c"]


def test_what_is_being_built_is_left_alone() -> None:
    assert choose_stale([".0d.tmp"], set()) == []
