"""How many reads of the API pods may cause."""

import pytest

from detection_operator.server import lookups
from detection_operator.server.lookups import ABSENT_S, LookUps


class Scene:
    def __init__(self) -> None:
        self.now = 0.0
        self.lookups = LookUps(lambda: self.now)

    def permitted(self, tries: list[tuple[str, str]]) -> int:
        return sum(self.lookups.take(uid, namespace) == 0 for uid, namespace in tries)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_one_pod_gets_a_handful(scene: Scene) -> None:
    assert scene.permitted([("pod", "team-a")] * 1000) == 4
    scene.now += 10
    assert scene.permitted([("pod", "team-a")] * 1000) == 2


def test_the_pods_of_a_namespace_leave_room_for_those_of_others(scene: Scene) -> None:
    assert scene.permitted([(f"pod-{n}", "team-a") for n in range(1000)]) <= 20
    assert scene.permitted([("pod", "team-b")]) == 1


def test_all_pods_share_a_limit(scene: Scene) -> None:
    everywhere = [(f"pod-{n}", f"team-{n}") for n in range(1000)]
    assert scene.permitted(everywhere) <= 100


def test_an_absence_is_remembered_for_a_while(scene: Scene) -> None:
    scene.lookups.remember("uid", "pod_gone")
    assert scene.lookups.absence("uid") == "pod_gone"
    assert scene.lookups.absence("other") is None
    scene.now += ABSENT_S
    assert scene.lookups.absence("uid") is None


def test_remembered_absences_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "MAX_ABSENT", 3)
    scene = Scene()
    for number in range(5):
        scene.lookups.remember(f"uid-{number}", "pod_gone")
    known = [number for number in range(5) if scene.lookups.absence(f"uid-{number}")]
    assert known == [2, 3, 4]
