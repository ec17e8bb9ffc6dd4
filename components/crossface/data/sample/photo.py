"""A photo: a scene with one or several people, taken by the source's camera."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from crossface.data.sample.capture import CAMERAS, encode, expose
from crossface.data.sample.draw import Canvas, Light, draw_body, draw_head, lit
from crossface.data.sample.expression import action_units
from crossface.data.sample.face import Placement, Points, Pose, landmarks
from crossface.data.sample.population import Face, Source


@dataclass(frozen=True)
class Photo:
    """A photo to be taken. ``seed`` alone decides everything that is not said here."""

    source: Source
    name: str
    faces: tuple[Face, ...]
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Shot:
    """A photo that was taken: the picture, its file, and the 68 landmarks of every face in pixels."""

    image: Image.Image
    file: bytes
    landmarks: list[Points]


@dataclass(frozen=True)
class Studio:
    """How a source frames people: half the width of a head in pixels, and the turn of the heads."""

    unit: tuple[float, float]
    turn: float
    hardness: tuple[float, float]
    backdrop: tuple[float, float]  # range of brightness


STUDIOS: dict[Source, Studio] = {
    "rafdb": Studio((44, 62), 0.09, (0.3, 0.8), (150, 235)),
    "expw": Studio((24, 34), 0.12, (0.5, 1.0), (70, 190)),
    "affectnet": Studio((38, 56), 0.13, (0.5, 1.1), (40, 150)),
}


def take(photo: Photo) -> Shot:
    """Draw the photo, pass it through the camera and encode it."""
    rng = np.random.default_rng(photo.seed)
    studio, camera = STUDIOS[photo.source], CAMERAS[photo.source]
    unit = rng.uniform(*studio.unit)
    if photo.source == "expw":
        width, height, places = _group(len(photo.faces), unit, studio.turn, rng)
    else:
        width, height, places = _portrait(unit, photo.source == "affectnet", studio.turn, rng)
    canvas = Canvas(width, height)
    _backdrop(canvas, studio, rng)
    points = []
    for face, place in zip(photo.faces, places, strict=True):
        points.append(
            _draw_person(canvas, face, place, rng) if face.expression else _draw_thing(canvas, place, rng)
        )
    pixels = canvas.develop(0.03 * unit)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    light = Light(float(np.cos(angle)), float(np.sin(angle)), float(rng.uniform(*studio.hardness)))
    for face, place in zip(photo.faces, places, strict=True):
        if face.expression:
            lit(pixels, light, place)
    image = expose(pixels, camera, rng)
    return Shot(image, encode(image, photo.name, int(rng.integers(*camera.quality))), points)


def _pose(turn: float, rng: np.random.Generator) -> Pose:
    yaw, pitch, roll = rng.normal(0.0, (turn, 0.4 * turn, 0.6 * turn)).clip(-0.5, 0.5)
    return Pose(float(yaw), float(pitch), float(roll))


def _portrait(
    unit: float, square: bool, turn: float, rng: np.random.Generator
) -> tuple[int, int, list[Placement]]:
    """One head, large in the photo; returns the width and height of the photo, and the head."""
    width = round(unit * rng.uniform(3.6, 4.8))
    height = width if square else round(unit * rng.uniform(4.2, 5.2))
    x = width / 2 + unit * rng.normal(0.0, 0.12)
    y = height * 0.48 + unit * rng.normal(0.0, 0.10)
    return width, height, [Placement(float(x), float(y), unit, _pose(turn, rng))]


def _group(
    people: int, unit: float, turn: float, rng: np.random.Generator
) -> tuple[int, int, list[Placement]]:
    """Several heads side by side in a wide scene; some stand at its edge and are cut off by it."""
    slot = unit * rng.uniform(4.0, 5.0)
    width, height = round(max(people * slot, 300.0)), round(rng.uniform(210, 270))
    slot = width / people
    cut = int(rng.integers(people)) if rng.random() < 0.12 else -1
    places = []
    for i in range(people):
        size = unit * rng.uniform(0.9, 1.1)
        x = (i + 0.5) * slot + rng.normal(0.0, 0.08) * slot
        y = height * rng.uniform(0.32, 0.55)
        if i == cut and i in (0, people - 1):
            x = 0.8 * size if i == 0 else width - 0.8 * size
        elif i == cut:
            y = 0.75 * size
        places.append(Placement(float(x), float(y), float(size), _pose(turn, rng)))
    return width, height, places


def _backdrop(canvas: Canvas, studio: Studio, rng: np.random.Generator) -> None:
    base = rng.uniform(*studio.backdrop)
    tint = rng.normal(0.0, 10.0, 3)
    canvas.backdrop(base + tint + rng.normal(0.0, 16.0, (3, 4, 1)) + rng.normal(0.0, 4.0, (3, 4, 3)))
    width, height = canvas.size
    for _ in range(int(rng.integers(0, 4))):  # doors, windows, furniture
        left, top = rng.uniform(-0.1, 0.9) * width, rng.uniform(-0.1, 0.8) * height
        right, bottom = left + rng.uniform(0.08, 0.3) * width, top + rng.uniform(0.1, 0.6) * height
        colour = base + tint + rng.normal(0.0, 25.0) + rng.normal(0.0, 8.0, 3)
        red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
        box = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        canvas.fill(box, (red, green, blue))


def _draw_person(canvas: Canvas, face: Face, place: Placement, rng: np.random.Generator) -> Points:
    units = action_units(face.expression, face.intensity, face.person.rest, rng)
    draw_body(canvas, face.person, place)
    draw_head(canvas, face.person, units, place, gaze=float(rng.uniform(-1.0, 1.0)))
    return landmarks(face.person, units, place)


def _draw_thing(canvas: Canvas, place: Placement, rng: np.random.Generator) -> Points:
    """What a detector took for a face: some round thing. Its landmarks are noise."""
    for radius in (1.2, 0.7, 0.3):
        red, green, blue = rng.integers(20, 230, 3).tolist()
        canvas.disc(np.array([[place.x, place.y]]), radius * place.unit, (red, green, blue))
    return np.array([place.x, place.y]) + place.unit * rng.uniform(-1.0, 1.0, (68, 2))
