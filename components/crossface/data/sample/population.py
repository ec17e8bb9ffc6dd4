"""Who is in each source, what they show, and what the source's annotators call it.

The three sources differ as the real ones do (the class priors follow the published counts in rough form,
with the rarest classes a little less rare, so that a small sample still has them):

* selection: other shares of the expressions, other people;
* annotation: each source has one habit, a pair of expressions of which it confuses the faint faces.
  The habits do not overlap, so two sources of three label every expression right.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from crossface.data.emotions import EMOTIONS
from crossface.data.sample.expression import UNITS
from crossface.data.sample.face import Person

Source = Literal["rafdb", "expw", "affectnet"]
SOURCES: tuple[Source, ...] = ("rafdb", "expw", "affectnet")

SHARES: dict[Source, float] = {"rafdb": 0.25, "expw": 0.30, "affectnet": 0.45}

PRIORS: dict[Source, tuple[float, ...]] = {  # in the order of EMOTIONS
    "rafdb": (0.10, 0.04, 0.055, 0.41, 0.145, 0.06, 0.19),
    "expw": (0.07, 0.07, 0.06, 0.23, 0.09, 0.08, 0.40),
    "affectnet": (0.06, 0.03, 0.03, 0.47, 0.065, 0.055, 0.29),
}


@dataclass(frozen=True)
class Habit:
    """A source's annotators call ``share`` of the faces that show ``true``, the faint ones, ``called``."""

    true: str
    called: str
    share: float = 0.7


HABITS: dict[Source, Habit] = {
    "rafdb": Habit("sadness", "neutral"),
    "expw": Habit("fear", "surprise"),
    "affectnet": Habit("disgust", "anger"),
}

WRONG_SHARE = 0.005
"""Share of faces with a label that is plainly wrong, beside the habits."""

GENDERS = ("male", "female")
RACES = ("caucasian", "african-american", "asian")


@dataclass(frozen=True)
class Crowd:
    """The mix of people in one source: shares, in the order of the codes of RAF-DB where it has them."""

    women: float
    races: tuple[float, float, float]
    ages: tuple[float, float, float, float, float]
    glasses: float
    beard: float  # among men of 20 and over
    photos: int  # mean number of photos of one person


CROWDS: dict[Source, Crowd] = {
    "rafdb": Crowd(0.56, (0.77, 0.08, 0.15), (0.10, 0.17, 0.53, 0.16, 0.04), 0.10, 0.15, 4),
    "expw": Crowd(0.38, (0.55, 0.25, 0.20), (0.02, 0.08, 0.70, 0.18, 0.02), 0.22, 0.45, 1),
    "affectnet": Crowd(0.48, (0.68, 0.16, 0.16), (0.03, 0.07, 0.35, 0.38, 0.17), 0.30, 0.25, 3),
}

_SKIN = {
    "caucasian": ((228, 178, 148), (250, 220, 198)),
    "african-american": ((92, 58, 40), (165, 115, 84)),
    "asian": ((216, 166, 124), (243, 206, 168)),
}
_HAIR = {
    "caucasian": ((40, 28, 22), (92, 58, 34), (150, 105, 60), (205, 170, 105), (130, 60, 35)),
    "african-american": ((22, 18, 17), (38, 28, 24)),
    "asian": ((20, 17, 18), (42, 30, 26)),
}
_IRIS = {
    "caucasian": ((80, 115, 150), (95, 120, 80), (100, 70, 45), (120, 95, 60)),
    "african-american": ((55, 35, 25), (70, 45, 28)),
    "asian": ((50, 34, 26), (65, 42, 28)),
}


@dataclass(frozen=True)
class Face:
    """One labelled face: what it shows, and what the source says of it.

    ``expression`` is one of ``EMOTIONS``, or ``contempt``, or empty where there is no face. ``label`` is what
    the annotators say: one of ``EMOTIONS``, or a number that the source uses for something else.
    """

    person: Person
    expression: str
    intensity: float
    split: str  # train, test, or empty where none is published
    label: str


def allot(count: int, priors: tuple[float, ...]) -> list[int]:
    """Share ``count`` faces among the classes, with a few in each class as far as ``count`` allows.

    The floor is 1 from 7 faces on, and grows to 6.
    """
    shares = np.asarray(priors) / sum(priors)
    floor = min(6, max(1, count // 25)) if count >= len(shares) else 0
    exact = shares * count
    counts = np.maximum(np.floor(exact).astype(int), floor)
    while counts.sum() < count:
        counts[int(np.argmax(exact - counts))] += 1
    while counts.sum() > count:
        counts[int(np.argmax(counts - exact + 1e6 * (counts > floor)))] -= 1
    return [int(value) for value in counts]


def split_sizes(source: Source, count: int) -> dict[str, int]:
    """How many of the source's faces are in each published split; every class fits into a test set."""
    classes = len(EMOTIONS)
    if source == "expw":
        return {"": count}
    if source == "rafdb":
        test = max(classes, round(0.2 * count))
    else:
        test = classes * max(1, round(0.15 * count / classes))  # the same number of each class
    return {"train": count - test, "test": test}


def draw_faces(source: Source, count: int, rng: np.random.Generator) -> list[Face]:
    """The labelled faces of one source, in random order within a split, train before test."""
    faces = []
    for split, size in split_sizes(source, count).items():
        uniform = source == "affectnet" and split == "test"
        priors = (1.0,) * len(EMOTIONS) if uniform else PRIORS[source]
        shown = [name for name, n in zip(EMOTIONS, allot(size, priors), strict=True) for _ in range(n)]
        people = draw_people(source, split, size, rng)
        intensities = [draw_intensity(name, rng) for name in shown]
        labels = annotate(shown, intensities, HABITS[source], rng)
        rows = [
            Face(people[i], shown[i], intensities[i], split, labels[i])
            for i in rng.permutation(size).tolist()
        ]
        faces += rows
    return faces


def draw_intensity(expression: str, rng: np.random.Generator) -> float:
    """How strongly an expression shows: 0 for neutral, else mostly between a third and full."""
    return 0.0 if expression == "neutral" else round(float(0.25 + 0.75 * rng.beta(2.0, 1.2)), 3)


def annotate(shown: list[str], intensities: list[float], habit: Habit, rng: np.random.Generator) -> list[str]:
    """The published labels: true but for the source's habit and a few plainly wrong ones.

    A face falls to the habit with a probability that falls with its intensity; the number that do is
    exactly the habit's share. Plainly wrong labels only hit the frequent classes.
    """
    labels = list(shown)
    affected = [i for i, name in enumerate(shown) if name == habit.true]
    doubt = {i: intensities[i] + rng.normal(0.0, 0.08) for i in affected}
    confused = min(round(habit.share * len(affected)), max(len(affected) - 1, 0))  # no label dies out
    for i in sorted(affected, key=doubt.__getitem__)[:confused]:
        labels[i] = habit.called
    frequent = [i for i, name in enumerate(shown) if name in ("happiness", "neutral")]
    wrong = min(int(WRONG_SHARE * len(shown) + 0.5), len(frequent))
    for i in rng.choice(frequent, wrong, replace=False).tolist():
        others = [name for name in ("surprise", "sadness", "anger") if name != habit.called]
        labels[i] = others[int(rng.integers(len(others)))]
    return labels


def draw_people(source: Source, split: str, photos: int, rng: np.random.Generator) -> list[Person]:
    """One person a photo; people recur within a split, never across splits."""
    crowd = CROWDS[source]
    known = max(1, round(photos / crowd.photos))
    pool = [draw_person(f"{source}-{split or 'all'}-{n:05d}", crowd, rng) for n in range(known)]
    turns = np.arange(photos) % known if crowd.photos == 1 else rng.integers(known, size=photos)
    return [pool[turn] for turn in turns.tolist()]


def draw_person(name: str, crowd: Crowd, rng: np.random.Generator) -> Person:
    """A person of the crowd, whose looks agree with gender, race and age."""
    gender = GENDERS[int(rng.random() < crowd.women)]
    race = RACES[int(rng.choice(3, p=crowd.races))]
    age = int(rng.choice(5, p=crowd.ages))
    adult, man = age >= 2, gender == "male"
    styles = ("short", "fringe", "short", "curly") if man else ("long", "long", "fringe", "curly")
    style = styles[int(rng.integers(4))] if age > 0 else ("short", "fringe")[int(rng.integers(2))]
    if man and age >= 3 and rng.random() < 0.35:
        style = "bald"
    beard = ("moustache", "full")[int(rng.integers(2))] if rng.random() < crowd.beard else "none"
    dark, pale = (np.array(colour) for colour in _SKIN[race])
    hair = np.array(_HAIR[race][int(rng.integers(len(_HAIR[race])))], dtype=float)
    grey = {3: rng.uniform(0.0, 0.6), 4: rng.uniform(0.7, 1.0)}.get(age, 0.0)
    rest = {unit: float(rng.normal(0.0, 0.06)) for unit in UNITS}
    return Person(
        id=name,
        gender=gender,
        race=race,
        age=age,
        skin=_rgb(dark + (pale - dark) * rng.random() + rng.normal(0.0, 3.0, 3)),
        hair=_rgb(hair * (1.0 - grey) + 195.0 * grey),
        iris=_rgb(np.array(_IRIS[race][int(rng.integers(len(_IRIS[race])))])),
        cloth=_rgb(rng.uniform(30, 220, 3)),
        hair_style=style,
        beard=beard if man and adult else "none",
        glasses=bool(age >= 1 and rng.random() < crowd.glasses),
        jaw=float(np.clip(rng.normal(0.7 if man and adult else 0.3, 0.2), 0.0, 1.0)),
        length=float((0.86, 0.93, 1.0, 1.0, 1.02)[age] + rng.normal(0.0, 0.035)),
        eye=float((1.25, 1.1, 1.0, 0.97, 0.92)[age] * rng.normal(1.0, 0.06)),
        brow=float((0.7, 0.9, 1.0, 1.0, 1.0)[age] * (1.25 if man else 0.9) * rng.normal(1.0, 0.12)),
        brow_height=float(rng.normal(1.0, 0.06)),
        nose=float((0.75, 0.9, 1.0, 1.08, 1.12)[age] * rng.normal(1.0, 0.1)),
        lips=float(
            (1.25 if race == "african-american" else 1.0) * (0.9 if man else 1.1) * rng.normal(1.0, 0.1)
        ),
        rest=rest,
    )


def _rgb(colour: np.ndarray) -> tuple[int, int, int]:
    red, green, blue = np.clip(np.round(colour), 0, 255).astype(int).tolist()
    return red, green, blue
