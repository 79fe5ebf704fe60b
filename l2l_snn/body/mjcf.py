"""What a body described in MuJoCo's MJCF XML is: one rigid arm on hinges, muscles as tendons between two sites.

    <body><joint type="hinge" .../><inertial .../><site name="flexor_arm" .../></body>
    <tendon><spatial name="flexor"><site site="flexor_ground"/><site site="flexor_arm"/></spatial></tendon>

Read without MuJoCo. Numbers in MJCF's units: m, kg, s, rad.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from l2l_snn.validate import message

Vector = tuple[float, float, float]
UP = (0.0, 0.0, 1.0)


class Hinge(NamedTuple):
    """A hinge at the origin."""

    name: str
    axis: Vector  # of length 1
    armature: float  # kg m^2, inertia of the joint itself
    damping: float  # N m s / rad
    low: float  # rad, range
    high: float  # rad


class Strand(NamedTuple):
    """Where a muscle is attached, m from the origin, which is the hinge."""

    name: str
    arm: Vector  # in the arm's frame: at angles 0
    ground: Vector


class Skeleton(NamedTuple):
    """One rigid arm on J hinges in the origin, and the M strands that move it."""

    path: Path
    timestep: float  # s
    gravity: float  # m / s^2, downward
    mass: float  # kg
    centre: Vector  # m, centre of mass at angles 0
    inertia: Vector  # kg m^2, about the centre of mass
    hinges: tuple[Hinge, ...]
    strands: tuple[Strand, ...]


@lru_cache(maxsize=16)
def read_mjcf(path: Path) -> Skeleton:
    """Return the skeleton of an XML file.

    Raises:
        ValueError: it isn't MJCF, has no hinge, no muscle, no inertia, or a length or a mass that isn't positive.
        OSError: it can't be read.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(message(path.name, "a body in MJCF XML", f"no XML: {error}")) from None
    arm = root.find("worldbody/body")
    if arm is None:
        raise ValueError(
            message(path.name, "a body in its worldbody", "none", "the arm is the body that the hinge turns")
        )
    hinges = tuple(_read_hinge(path, joint) for joint in arm.findall("joint") if joint.get("type", "hinge") == "hinge")
    if not hinges:
        raise ValueError(
            message(path.name, "an arm with a hinge", "no joint of the type hinge", 'add <joint type="hinge"/>')
        )
    inertial = arm.find("inertial")
    if inertial is None:
        raise ValueError(message(path.name, "an arm with its inertia", "none", 'add <inertial pos="..." mass="..."/>'))
    option = root.find("option")
    option = ElementTree.Element("option") if option is None else option
    fields = {
        "timestep": float(option.get("timestep", "0.002")),
        "gravity": -_read_vector(option.get("gravity", "0 0 -9.81"))[2],
        "mass": float(inertial.get("mass", "0")),
    }
    for name in ("timestep", "mass"):
        if not fields[name] > 0:
            raise ValueError(message(f"{path.name}: {name}", "a number > 0", fields[name]))
    centre, inertia = (_read_vector(inertial.get(name, "0 0 0")) for name in ("pos", "diaginertia"))
    return Skeleton(
        path, **fields, centre=centre, inertia=inertia, hinges=hinges, strands=_read_strands(path, root, arm)
    )


def _read_hinge(path: Path, joint: ElementTree.Element) -> Hinge:
    name, axis = joint.get("name", "hinge"), np.array(_read_vector(joint.get("axis", "0 0 1")))
    low, high = (float(x) for x in joint.get("range", "-3.1416 3.1416").split())
    armature, damping = (float(joint.get(key, "0")) for key in ("armature", "damping"))
    if not low < 0 < high:
        raise ValueError(
            message(f"{path.name}: range of {name}", "angles below and above 0", f"{low:g} to {high:g} rad")
        )
    for key, value in (("armature", armature), ("damping", damping)):
        if value < 0:
            raise ValueError(message(f"{path.name}: {key} of {name}", "a number >= 0", value))
    x, y, z = (axis / np.linalg.norm(axis)).tolist()
    return Hinge(name, (x, y, z), armature, damping, low, high)


def _read_strands(path: Path, root: ElementTree.Element, arm: ElementTree.Element) -> tuple[Strand, ...]:
    """Return a strand for each spatial tendon: its two sites, one on the ground and one on the arm."""
    on_arm = {site.get("name"): _read_vector(site.get("pos", "0 0 0")) for site in arm.findall("site")}
    on_ground = {site.get("name"): _read_vector(site.get("pos", "0 0 0")) for site in root.findall("worldbody/site")}
    strands = []
    for tendon in root.findall("tendon/spatial"):
        name, sites = tendon.get("name", "muscle"), [site.get("site") for site in tendon.findall("site")]
        ends = [on_arm[s] for s in sites if s in on_arm], [on_ground[s] for s in sites if s in on_ground]
        if [len(end) for end in ends] != [1, 1]:
            raise ValueError(message(f"{path.name}: muscle {name}", "a site on the arm and one on the ground", sites))
        for where, (end,) in zip(("arm", "ground"), ends, strict=True):
            if not np.linalg.norm(end) > 0:
                todo = "a muscle attached to the hinge turns nothing"
                raise ValueError(
                    message(f"{path.name}: {where} of muscle {name}", "a distance from the hinge > 0 m", 0, todo)
                )
        strands.append(Strand(name, ends[0][0], ends[1][0]))
    if not strands:
        raise ValueError(message(path.name, "a muscle, as <spatial> in <tendon>", "none"))
    return tuple(strands)


def _read_vector(text: str) -> Vector:
    x, y, z = (float(word) for word in text.split())
    return x, y, z
