"""The geometry of a face: from a person, action units and a pose to curves and 68 landmarks.

Face coordinates: half the width of the head is 1, x to the right and y down as in the picture, the origin
between the eyes and a little above the nose. Left and right are the picture's.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossface.data.sample.expression import ActionUnits

Points = NDArray[np.float64]
"""(n, 2) x and y."""

LEFT, RIGHT = -1, 1


@dataclass(frozen=True)
class Person:
    """Who is drawn: what RAF-DB would say of them, how they look, and the face they have at rest."""

    id: str
    gender: str  # male, female
    race: str  # caucasian, african-american, asian
    age: int  # 0: 0-3, 1: 4-19, 2: 20-39, 3: 40-69, 4: 70 and over
    skin: tuple[int, int, int]
    hair: tuple[int, int, int]
    iris: tuple[int, int, int]
    cloth: tuple[int, int, int]
    hair_style: str  # short, fringe, long, curly, bald
    beard: str  # none, moustache, full
    glasses: bool
    jaw: float  # 0 pointed to 1 square
    length: float  # of the lower face, about 1
    eye: float  # sizes, about 1
    brow: float
    brow_height: float
    nose: float
    lips: float
    rest: ActionUnits


@dataclass(frozen=True)
class Pose:
    """Where the head turns, in radians: yaw to the picture's right, pitch down, roll clockwise."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True)
class Placement:
    """Where a head is in a photo: its origin, and half its width, in pixels."""

    x: float
    y: float
    unit: float
    pose: Pose

    def project(self, points: Points, lift: float = 0.0) -> Points:
        """Turn the head and give pixels; ``lift``: how far the points stand off the head, as a nose does."""
        square = (points / (1.1, 1.8)) ** 2
        depth = np.sqrt(np.maximum(0.0, 1.0 - square[:, :1] - square[:, 1:])) + lift
        return self._to_pixels(points * self._facing + depth * self._away)

    def outline(self, points: Points) -> Points:
        """Pixels of points on the silhouette, which a small turn leaves nearly where it was."""
        return self._to_pixels(points + 0.12 * self._away)

    @cached_property
    def _facing(self) -> Points:
        return np.array([math.cos(self.pose.yaw), math.cos(self.pose.pitch)])

    @cached_property
    def _away(self) -> Points:
        return np.array([math.sin(self.pose.yaw), math.sin(self.pose.pitch)])

    @cached_property
    def _roll(self) -> Points:
        cos, sin = math.cos(self.pose.roll), math.sin(self.pose.roll)
        return self.unit * np.array([[cos, sin], [-sin, cos]])

    def _to_pixels(self, points: Points) -> Points:
        return points @ self._roll + (self.x, self.y)


def jaw(person: Person, au: ActionUnits, count: int = 17) -> Points:
    """The contour from the left temple over the chin to the right temple."""
    angle = np.linspace(0.0, np.pi, count)
    power = 1.0 - 0.22 * person.jaw
    depth = np.sin(angle) ** power
    taper = 1.0 - (0.26 - 0.16 * person.jaw) * depth
    x = -np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power * taper
    drop = 1.62 * person.length + 0.20 * max(au[26], 0.0) + 0.03 * au[25] - 0.03 * au[17]
    return np.stack([x, -0.2 + drop * depth], axis=1)


def skull(scale: float, height: float, count: int = 21) -> Points:
    """An arc over the head from the right temple to the left."""
    angle = np.linspace(0.0, np.pi, count)
    arc = np.abs(np.sin(angle)) ** 0.85  # a little flatter than an ellipse
    return np.stack([scale * np.cos(angle), -0.2 - height * arc], axis=1)


def brow(person: Person, au: ActionUnits, side: int, count: int = 9) -> Points:
    """The midline of a brow from its inner to its outer end."""
    u = np.linspace(0.0, 1.0, count)
    x = 0.17 + 0.52 * u - 0.06 * au[4] * (1.0 - u)
    arch = 0.09 * np.sin(np.pi * np.minimum(u * 0.85, 1.0))
    raised = 0.25 * au[1] * (1.0 - u) ** 1.3 + 0.21 * au[2] * u**0.8 + 0.04 * au[5] - 0.03 * au[6]
    lowered = au[4] * (0.06 + 0.18 * (1.0 - u)) + 0.06 * au[9]
    y = -0.45 * person.brow_height - arch - raised + lowered
    return np.stack([side * x, y], axis=1)


@dataclass(frozen=True)
class Eye:
    """One eye: the two lids from left to right, and the centre of the iris."""

    upper: Points
    lower: Points
    centre: Points
    radius: float


def eye(person: Person, au: ActionUnits, side: int, gaze: float, count: int = 13) -> Eye:
    """The opening of an eye; ``gaze`` moves the iris sideways."""
    u = np.linspace(-1.0, 1.0, count)
    x, y, width = side * 0.43, -0.10, 0.25 * person.eye
    droop = 0.04 * max(au[1] + au[15] - au[5], 0.0)  # the outer corner hangs in a sad face
    up = 0.13 * person.eye + 0.11 * au[5] - 0.075 * au[7] - 0.025 * au[6] - 0.03 * au[9] - 0.02 * au[15]
    down = 0.08 * person.eye + 0.025 * au[5] - 0.05 * au[7] - 0.07 * au[6] - 0.03 * au[9]
    lid = (1.0 - u**2) ** 0.65
    tilt = droop * side * u
    upper = np.stack([x + width * u, y - max(up, 0.015) * lid + tilt], axis=1)
    lower = np.stack([x + width * u, y + max(down, -0.01) * lid**1.2 + tilt], axis=1)
    centre = np.array([[x + gaze * 0.07, y - 0.02]])
    return Eye(upper, lower, centre, 0.12 * person.eye)


@dataclass(frozen=True)
class Mouth:
    """Four curves from the left to the right corner, from the top of the upper lip down."""

    outer_upper: Points
    inner_upper: Points
    inner_lower: Points
    outer_lower: Points
    gap: float


def mouth(person: Person, au: ActionUnits, count: int = 17) -> Mouth:
    """The lips and the opening between them."""
    u = np.linspace(-1.0, 1.0, count)
    middle = 0.30 + 0.50 * person.length
    half = 0.38 + 0.17 * au[12] + 0.15 * au[20] - 0.07 * au[26] - 0.06 * au[23] + 0.03 * au[10]
    gap = max(0.0, 0.13 * au[25] + 0.34 * au[26] - 0.02)
    corner = middle - 0.22 * au[12] + 0.20 * au[15] + 0.05 * au[20] + 0.02 * au[10] + 0.45 * gap
    corners = corner - 0.14 * au[14] * np.maximum(u, 0.0)  # the dimpler lifts one side
    top = middle - 0.11 * au[10] - 0.05 * au[9] - 0.05 * au[17] + 0.05 * au[12] * (gap < 0.04)
    roundness = 2.0 + 2.0 * max(au[20], 0.0) + 1.5 * max(au[10], 0.0)
    rise = 1.0 - np.abs(u) ** roundness
    press = 1.0 - 0.6 * max(au[23], 0.0)
    thin, thick = 0.095 * person.lips * press, 0.12 * person.lips * press + 0.02 * au[17]
    body = (1.0 - u**2) ** 0.6
    cupid = 1.0 - 0.22 * np.exp(-((u / 0.16) ** 2))
    upper = corners + (top - corners) * rise
    lower = np.maximum(upper, corners + (top + gap - corners) * rise)
    x = half * u
    curves = (upper - thin * body * cupid, upper, lower, lower + max(thick, 0.02) * body)
    above, inside, beneath, below = (np.stack([x, y], axis=1) for y in curves)
    return Mouth(above, inside, beneath, below, gap)


def nose(person: Person, au: ActionUnits) -> tuple[Points, Points]:
    """The bridge from top to tip (4 points) and the base from left to right (5 points)."""
    base = 0.42 * (0.85 + 0.15 * person.nose) - 0.07 * au[9] - 0.03 * au[10]
    width = 0.17 * person.nose + 0.04 * au[9] + 0.02 * au[12]
    bridge = np.stack([np.zeros(4), np.linspace(-0.12, base - 0.08, 4)], axis=1)
    x = np.array([-1.0, -0.45, 0.0, 0.45, 1.0]) * width
    return bridge, np.stack([x, base + np.array([-0.04, 0.03, 0.05, 0.03, -0.04])], axis=1)


def landmarks(person: Person, au: ActionUnits, place: Placement) -> Points:
    """The 68 landmarks of the iBUG 300-W scheme, as AffectNet publishes them.

    Returns:
        (68, 2) pixels: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, lips 48-67.
    """
    fifth = [0, 2, 4, 6, 8]
    left_brow, right_brow = (brow(person, au, side)[fifth] for side in (LEFT, RIGHT))
    bridge, base = nose(person, au)
    eyes = [
        curve
        for opening in (eye(person, au, side, 0.0) for side in (LEFT, RIGHT))
        for curve in (opening.upper[[0, 4, 8, 12]], opening.lower[[8, 4]])
    ]
    lips = mouth(person, au)
    outer = [lips.outer_upper[[0, 3, 6, 8, 10, 13, 16]], lips.outer_lower[[13, 10, 8, 6, 3]]]
    inner = [lips.inner_upper[[1, 5, 8, 11, 15]], lips.inner_lower[[11, 8, 5]]]
    return np.concatenate(
        [
            place.outline(jaw(person, au)),
            place.project(np.concatenate([left_brow[::-1], right_brow])),
            place.project(bridge, lift=0.12),
            place.project(base, lift=0.12),
            place.project(np.concatenate(eyes + outer + inner)),
        ]
    )
