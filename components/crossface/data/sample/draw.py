"""Draws a head on a photo: flat shapes at twice the size, soft shadows and light at the final size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from crossface.data.sample.expression import ActionUnits
from crossface.data.sample.face import (
    LEFT,
    RIGHT,
    Mouth,
    Person,
    Placement,
    Points,
    brow,
    eye,
    jaw,
    mouth,
    nose,
    skull,
)

SUPERSAMPLE = 2

Colour = tuple[int, int, int]
Pixels = NDArray[np.float32]
"""(height, width, 3), 0 to 255."""


@dataclass(frozen=True)
class Light:
    """Where the light comes from, seen from the camera, and how hard it is (0 flat to 1)."""

    x: float
    y: float
    hardness: float


class Canvas:
    """A photo being drawn. All methods take points in the photo's own pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self._image = Image.new("RGB", (width * SUPERSAMPLE, height * SUPERSAMPLE))
        self._pen = ImageDraw.Draw(self._image)
        self._shadow = Image.new("L", self.size)
        self._shadow_pen = ImageDraw.Draw(self._shadow)

    def backdrop(self, colours: NDArray[np.float64]) -> None:
        """Fill with a coarse (rows, columns, 3) grid of colours, blended into each other."""
        grid = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
        smooth = grid.resize(self.size, Image.Resampling.BICUBIC)
        self._image.paste(smooth.resize(self._image.size, Image.Resampling.NEAREST))

    def fill(self, points: Points, colour: Colour) -> None:
        """A filled polygon."""
        self._pen.polygon((points * SUPERSAMPLE).ravel().tolist(), fill=colour)

    def stroke(self, points: Points, width: float, colour: Colour) -> None:
        """A line of constant width with round joints."""
        thickness = max(1, round(width * SUPERSAMPLE))
        self._pen.line((points * SUPERSAMPLE).ravel().tolist(), fill=colour, width=thickness, joint="curve")

    def disc(self, centre: Points, radius: float, colour: Colour) -> None:
        """A filled circle."""
        x, y = (centre * SUPERSAMPLE)[0].tolist()
        r = radius * SUPERSAMPLE
        self._pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def shade(self, points: Points, width: float, strength: float) -> None:
        """A soft dark line; ``strength`` 0 to 1."""
        level = int(np.clip(strength, 0.0, 1.0) * 255)
        if level > 0:
            line = points.ravel().tolist()
            self._shadow_pen.line(line, fill=level, width=max(1, round(width)), joint="curve")

    def develop(self, softness: float) -> Pixels:
        """The photo at its final size, with the soft shadows spread by ``softness`` pixels."""
        pixels = np.asarray(self._image.reduce(SUPERSAMPLE), dtype=np.float32)
        spread = self._shadow.filter(ImageFilter.BoxBlur(softness))
        return pixels * (1.0 - np.float32(0.75 / 255.0) * np.asarray(spread, dtype=np.float32)[..., None])


def lit(pixels: Pixels, light: Light, place: Placement) -> None:
    """Light a head as if it were an egg: brighter towards the light, darker away from it (in place)."""
    height, width = pixels.shape[:2]
    reach = 2.0 * place.unit
    top, bottom = int(max(place.y - reach, 0)), int(min(place.y + reach, height))
    left, right = int(max(place.x - reach, 0)), int(min(place.x + reach, width))
    x = (np.arange(left, right, dtype=np.float32)[None, :] - place.x) / np.float32(1.08 * place.unit)
    y = (np.arange(top, bottom, dtype=np.float32)[:, None] - place.y) / np.float32(1.6 * place.unit)
    square = x * x + y * y
    inside = np.clip((1.0 - square) * 4.0, 0.0, 1.0)  # fades before the edge, so that no ring shows behind
    facing = np.sqrt(np.maximum(1.0 - square, 0.0))
    gain = 1.0 + light.hardness * inside * (0.45 * (x * light.x + y * light.y) + 0.45 * (facing - 0.7))
    pixels[top:bottom, left:right] *= gain[..., None]


def draw_head(canvas: Canvas, person: Person, au: ActionUnits, place: Placement, gaze: float) -> None:
    """Draw one head, from the back of the hair to the glasses."""
    artist = _Artist(canvas, person, au, place)
    artist.back_hair()
    artist.neck_and_ears()
    artist.skin()
    artist.beard()
    artist.nose()
    for side in (LEFT, RIGHT):
        artist.eye(side, gaze)
        artist.brow(side)
    artist.mouth()
    artist.furrows()
    artist.front_hair()
    if person.glasses:
        artist.glasses()


def draw_body(canvas: Canvas, person: Person, place: Placement) -> None:
    """Draw neck and shoulders down to the lower edge of the photo."""
    bottom = (canvas.size[1] - place.y) / place.unit + 1.0
    width = 2.3 if person.gender == "male" else 1.95
    if person.age <= 1:
        width = 1.6
    side = np.array([[0.5, 1.55], [0.75, 1.95], [width * 0.8, 2.25], [width, 2.8], [width * 1.05, bottom]])
    points = np.concatenate([side, side[::-1] * [-1.0, 1.0]])
    upright = Placement(place.x, place.y, place.unit, type(place.pose)())
    canvas.fill(upright.outline(points), person.cloth)


class _Artist:
    """One head in the making; each method draws one part."""

    def __init__(self, canvas: Canvas, person: Person, au: ActionUnits, place: Placement) -> None:
        self.canvas, self.person, self.au, self.place = canvas, person, au, place
        self.unit = place.unit
        self.project = place.project
        self.lips = mouth(person, au)

    def back_hair(self) -> None:
        person = self.person
        if person.hair_style == "long":
            side = np.array([[1.18, 0.0], [1.26, 0.5], [1.26, 1.1], [1.15, 1.7], [0.7, 1.9]])
            outline = np.concatenate([side[::-1], skull(1.15, 1.38), side * [-1.0, 1.0]])
            self.canvas.fill(self.place.outline(outline), person.hair)
        elif person.hair_style == "curly":
            for angle in np.linspace(-0.35, np.pi + 0.35, 12):
                knot = np.array([[1.05 * np.cos(angle), -0.35 - 1.1 * np.sin(angle)]])
                self.canvas.disc(self.place.outline(knot), 0.42 * self.unit, person.hair)

    def neck_and_ears(self) -> None:
        skin = _scaled(self.person.skin, 0.9)
        neck = np.array([[-0.52, 0.6], [0.52, 0.6], [0.6, 1.9], [0.35, 2.2], [-0.35, 2.2], [-0.6, 1.9]])
        self.canvas.fill(self.place.outline(neck), skin)
        chin = jaw(self.person, self.au)[8, 1]
        cast = np.array(
            [[-0.52, 0.6], [0.52, 0.6], [0.56, chin - 0.1], [0.0, chin + 0.2], [-0.56, chin - 0.1]]
        )
        self.canvas.fill(self.place.outline(cast), _scaled(skin, 0.8))
        if self.person.hair_style != "long":
            angle = np.linspace(0.0, 2.0 * np.pi, 14)
            for side in (LEFT, RIGHT):
                ear = np.stack([side * 1.0 + 0.13 * np.cos(angle), 0.1 + 0.27 * np.sin(angle)], axis=1)
                self.canvas.fill(self.place.outline(ear), skin)

    def skin(self) -> None:
        outline = np.concatenate([jaw(self.person, self.au, 33), skull(1.0, 1.2)])
        self.canvas.fill(self.place.outline(outline), self.person.skin)

    def beard(self) -> None:
        person = self.person
        if person.beard == "full":
            lower = self.place.outline(jaw(person, self.au, 33)[4:29])
            inner = np.array([[0.8, 0.35], [0.62, 0.62], [0.45, 0.72]])
            top = np.concatenate([inner, inner[::-1] * [-1.0, 1.0]])
            self.canvas.fill(np.concatenate([lower, self.project(top)]), _scaled(person.hair, 0.95))
        if person.beard in ("full", "moustache"):
            upper = _moved(self.lips.outer_upper, 0.0, -0.01)
            _, base = nose(person, self.au)
            top = _moved(
                np.array([[0.24, 0.10], [0.12, 0.05], [-0.12, 0.05], [-0.24, 0.10]]), 0.0, base[2, 1]
            )
            shape = np.concatenate([upper, top])
            self.canvas.fill(self.project(shape), _scaled(person.hair, 0.9))

    def nose(self) -> None:
        skin, unit = self.person.skin, self.unit
        bridge, base = nose(self.person, self.au)
        flank = RIGHT if self.place.pose.yaw >= 0 else LEFT  # the far side of the bridge lies in shadow
        ridge = bridge + np.stack([flank * np.linspace(0.08, 0.15, 4), np.zeros(4)], axis=1)
        self.canvas.shade(self.project(ridge, 0.08), 0.09 * unit, 0.35)
        self.canvas.shade(self.project(_moved(base, 0.0, 0.04), 0.08), 0.09 * unit, 0.35)
        dark = _scaled(skin, 0.68)
        for side, (rim, hole) in ((LEFT, (0, 1)), (RIGHT, (4, 3))):
            wing = base[rim] + np.array([[-side * 0.02, -0.13], [side * 0.02, -0.05], [-side * 0.04, 0.05]])
            self.canvas.stroke(self.project(wing, 0.08), 0.035 * unit, dark)
            self.canvas.disc(
                self.project(_moved(base[[hole]], 0.0, -0.02), 0.1), 0.042 * unit, _scaled(skin, 0.35)
            )
        self.canvas.stroke(self.project(base[1:4], 0.1), 0.03 * unit, dark)

    def eye(self, side: int, gaze: float) -> None:
        canvas, person, unit = self.canvas, self.person, self.unit
        opening = eye(person, self.au, side, gaze)
        canvas.shade(self.project(_moved(opening.upper, 0.0, -0.09)), 0.16 * unit, 0.30)
        canvas.fill(self.project(np.concatenate([opening.upper, opening.lower[::-1]])), (240, 238, 234))
        centre = self.project(opening.centre)
        canvas.disc(centre, opening.radius * unit, person.iris)
        canvas.disc(centre, opening.radius * 0.5 * unit, (15, 12, 12))
        canvas.disc(_moved(centre, -0.03 * unit, -0.035 * unit), 0.022 * unit, (255, 255, 255))
        for lid, away in (
            (opening.upper, -0.17),
            (opening.lower, 0.14),
        ):  # lids hide what the opening cuts off
            arc = lid + np.stack([np.zeros(len(lid)), away * np.sin(np.linspace(0, np.pi, len(lid)))], axis=1)
            canvas.fill(self.project(np.concatenate([lid, arc[::-1]])), _scaled(person.skin, 0.97))
        female = person.gender == "female" and person.age >= 2
        lash = (0.055 if female else 0.035) * unit
        canvas.stroke(self.project(opening.upper), lash, _scaled(person.skin, 0.22))
        canvas.stroke(self.project(opening.lower), 0.02 * unit, _scaled(person.skin, 0.6))
        fold = _moved(opening.upper[2:-2], 0.0, -0.075)
        canvas.stroke(self.project(fold), 0.02 * unit, _scaled(person.skin, 0.72))
        if person.age >= 3:
            bag = _moved(opening.lower[2:-2], 0.0, 0.10)
            canvas.shade(self.project(bag), 0.05 * unit, 0.35)

    def brow(self, side: int) -> None:
        line = brow(self.person, self.au, side)
        child = 0.6 if self.person.age == 0 else 1.0
        thick = 0.125 * self.person.brow * child * np.linspace(1.0, 0.3, len(line))[:, None] * [0.0, 0.5]
        colour = _scaled(self.person.hair, 0.75)
        self.canvas.fill(self.project(np.concatenate([line - thick, (line + thick)[::-1]])), colour)

    def mouth(self) -> None:
        canvas, unit, skin = self.canvas, self.unit, self.person.skin
        lips = self.lips
        red = 0.52 if self.person.gender == "female" and self.person.age >= 2 else 0.64
        colour = (int(skin[0] * 0.86), int(skin[1] * red), int(skin[2] * red))
        canvas.fill(self.project(_between(lips.outer_upper, lips.inner_upper)), _scaled(colour, 0.92))
        canvas.fill(self.project(_between(lips.inner_lower, lips.outer_lower)), colour)
        if lips.gap > 0.03:
            self._open_mouth(lips)
        else:
            canvas.stroke(self.project(lips.inner_upper), 0.035 * unit, _scaled(colour, 0.45))
        below = _moved(lips.outer_lower[4:-4], 0.0, 0.09)
        canvas.shade(self.project(below), 0.08 * unit, 0.35 + 0.3 * self.au[17])

    def _open_mouth(self, lips: Mouth) -> None:
        canvas, upper, lower = self.canvas, lips.inner_upper, lips.inner_lower
        canvas.fill(self.project(_between(upper, lower)), (60, 18, 20))
        tongue = upper + (lower - upper) * 0.7
        canvas.fill(self.project(_between(tongue, lower)[3:-3]), (165, 75, 80))
        teeth = min(0.75, 0.11 / lips.gap) * (0.6 + 0.4 * max(self.au[12], self.au[10], self.au[20], 0.0))
        canvas.fill(self.project(_between(upper, upper + (lower - upper) * teeth)), (238, 234, 224))
        if lips.gap < 0.14:  # the lower row shows between lips that are hardly parted
            row = upper + (lower - upper) * 0.72
            canvas.fill(self.project(_between(row, lower)), (222, 216, 204))
        canvas.stroke(self.project(upper), 0.02 * self.unit, (80, 30, 30))

    def furrows(self) -> None:
        """Lines that the muscles fold, deeper in older skin."""
        canvas, au, unit, person = self.canvas, self.au, self.unit, self.person
        depth = (0.45, 0.6, 0.8, 1.1, 1.4)[person.age]
        dark = _scaled(person.skin, 0.70)
        old = max(person.age - 2, 0) * 0.18
        raised = max(au[1], au[2]) - 0.5 * max(au[4], 0.0)
        for y in (-0.78, -0.90):
            line = np.stack(
                [np.linspace(-0.45, 0.45, 7), y - 0.05 * np.cos(np.linspace(-1.5, 1.5, 7))], axis=1
            )
            canvas.shade(self.project(line), 0.035 * unit, depth * 0.55 * raised + old)
        for x in (-0.07, 0.07):
            line = np.array([[x, -0.56], [x * 0.9, -0.44], [x * 1.1, -0.32]])
            canvas.shade(self.project(line), 0.045 * unit, depth * (0.8 * au[4] - 0.1))
        if au[9] > 0.25:
            for y in (-0.2, -0.1, 0.0):
                line = np.array([[-0.13, y + 0.03], [0.0, y - 0.03], [0.13, y + 0.03]])
                canvas.stroke(self.project(line, 0.1), 0.022 * unit, dark)
        fold = max(au[12], 0.8 * au[9], 0.8 * au[10], 0.0)
        lips = self.lips
        for side, end in ((LEFT, 0), (RIGHT, -1)):
            corner = lips.inner_upper[end]
            bulge = _moved(corner, side * 0.16, -0.14)
            line = np.array([[side * 0.22, 0.34 - 0.05 * au[9]], bulge, _moved(corner, side * 0.15, 0.06)])
            canvas.shade(self.project(line), 0.05 * unit, depth * (0.12 + 0.75 * fold) + old)
            crow = np.array(
                [[side * 0.70, -0.12], [side * 0.82, -0.20], [side * 0.70, -0.06], [side * 0.84, -0.03]]
            )
            canvas.shade(self.project(crow), 0.025 * unit, depth * 0.7 * au[6] - 0.1 + 0.6 * old)
        chin = _moved(np.array([[-0.16, 0.0], [0.0, -0.04], [0.16, 0.0]]), 0.0, lips.outer_lower[8, 1] + 0.16)
        canvas.shade(self.project(chin), 0.05 * unit, 0.7 * au[17] - 0.1)

    def front_hair(self) -> None:
        style = self.person.hair_style
        if style == "bald":
            return
        line = {"short": 0.80, "fringe": 0.66, "long": 0.72, "curly": 0.74}[style]
        side = {"short": 0.05, "fringe": 0.10, "long": 0.5, "curly": 0.0}[style]
        outer, inner = skull(1.08, 1.34), skull(0.90, line)
        outer = np.concatenate([[[1.07, side]], outer, [[-1.07, side]]])
        inner = np.concatenate([[[0.93, side]], inner, [[-0.93, side]]])
        shape = np.concatenate([outer, inner[::-1]])
        self.canvas.fill(self.place.outline(shape), self.person.hair)
        shine = skull(0.75, 1.15)[4:11]
        self.canvas.stroke(self.place.outline(shine), 0.05 * self.unit, _scaled(self.person.hair, 1.25, 12))

    def glasses(self) -> None:
        angle = np.linspace(0.0, 2.0 * np.pi, 25)
        colour, width = (35, 30, 32), 0.045 * self.unit
        for side in (LEFT, RIGHT):
            rim = np.stack([side * 0.44 + 0.34 * np.cos(angle), -0.06 + 0.28 * np.sin(angle)], axis=1)
            self.canvas.stroke(self.project(rim, 0.05), width, colour)
            arm = np.array([[side * 0.76, -0.10], [side * 0.98, -0.08]])
            self.canvas.stroke(self.project(arm), width, colour)
        self.canvas.stroke(self.project(np.array([[-0.13, -0.09], [0.13, -0.09]]), 0.08), width, colour)


def _moved(points: Points, x: float, y: float) -> Points:
    return points + np.array([x, y])


def _between(upper: Points, lower: Points) -> Points:
    return np.concatenate([upper, lower[::-1]])


def _scaled(colour: Colour, factor: float, offset: int = 0) -> Colour:
    red, green, blue = (min(255, int(value * factor) + offset) for value in colour)
    return red, green, blue
