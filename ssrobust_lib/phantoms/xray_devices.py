"""Things on and in the patient that are not anatomy: leads, electrodes, tubes, lines, wires and pacemakers.

Enters: an `Anatomy`, a pixel grid and a generator. Leaves: mm of bone-equivalent material, float32 (N, N). They depend
on the view (bedside AP films carry more), never on the label. Part of the RSNA stand-in (paper, section 2).
"""

import numpy as np

from ssrobust_lib.phantoms.xray_anatomy import Anatomy
from ssrobust_lib.phantoms.xray_geometry import Plane, add_ellipsoid, ellipse, half_circle
from ssrobust_lib.phantoms.xray_lungs import curves


def draw_devices(anatomy: Anatomy, plane: Plane, generator: np.random.Generator) -> np.ndarray:
    """Draw a patient's devices and add up their absorption, in mm of bone."""
    bedside = anatomy.frontal_tube
    total = plane.zeros()
    if generator.random() < (0.6 if bedside else 0.04):
        total += _leads(anatomy, plane, generator)
    if generator.random() < (0.22 if bedside else 0.0):
        total += _breathing_tube(anatomy, plane, generator)
    if generator.random() < (0.35 if bedside else 0.06):
        total += _central_line(anatomy, plane, generator)
    if generator.random() < 0.06:
        total += _pacemaker(anatomy, plane, generator)
    if generator.random() < 0.07:
        total += _sternal_wires(anatomy, plane, generator)
    return total


def _leads(anatomy: Anatomy, plane: Plane, generator: np.random.Generator) -> np.ndarray:
    """Two to five electrodes, a wire from each to below or beside the field."""
    total, wires = plane.zeros(), []
    for _ in range(int(generator.integers(2, 6))):
        x = generator.uniform(-0.95, 0.95) * anatomy.half_width
        y = generator.uniform(anatomy.apex + 30, anatomy.domes[0] + 35)
        r = float(generator.uniform(4.0, 6.5))
        add_ellipsoid(total, plane, (x, y), (r, r), 16.0)
        add_ellipsoid(total, plane, (x, y), (0.4 * r, 0.4 * r), 30.0)
        end = np.array([generator.uniform(-230, 230), generator.choice([-250.0, 250.0])])
        middle = 0.5 * (np.array([x, y]) + end) + generator.normal(0, 35, 2)
        wires.append(np.stack([[x, y], middle, end]))
    return total + curves(plane, wires, 0.55) * np.float32(28)


def _breathing_tube(anatomy: Anatomy, plane: Plane, generator: np.random.Generator) -> np.ndarray:
    """Endotracheal tube down to some cm above the carina, often with a feeding tube to the stomach."""
    tip = anatomy.hilum - generator.uniform(40, 75)
    x = 0.4 * anatomy.rotation + generator.normal(0, 2)
    total = curves(plane, [np.array([[x - 8, -260.0], [x - 2, anatomy.apex], [x, tip]])], 4.0, hollow=0.8)
    if generator.random() < 0.6:
        path = [[x + 4, -260.0], [x + 5, anatomy.hilum], [x + 12, anatomy.domes[1]], [x + 50, anatomy.domes[1] + 45]]
        total += curves(plane, [np.array(path)], 1.6) * np.float32(3)
    return total


def _central_line(anatomy: Anatomy, plane: Plane, generator: np.random.Generator) -> np.ndarray:
    """Catheter from the neck, or from an arm under the clavicle, into the superior vena cava."""
    side = float(generator.choice([-1.0, 1.0]))
    cava = [-18 + 0.5 * anatomy.rotation, anatomy.hilum - generator.uniform(-15, 25)]
    if generator.random() < 0.5:
        path = [[side * 38, -260.0], [side * 34, anatomy.apex - 10], [side * 12 - 8, anatomy.apex + 50], cava]
    else:
        path = [[side * 200, anatomy.apex + 150], [side * 150, anatomy.apex + 55], [side * 70, anatomy.apex + 36], cava]
    return curves(plane, [np.array(path)], 1.1) * np.float32(5)


def _pacemaker(anatomy: Anatomy, plane: Plane, generator: np.random.Generator) -> np.ndarray:
    """Generator below a clavicle and its lead to the right ventricle."""
    side = float(generator.choice([-1.0, 1.0], p=[0.25, 0.75]))
    x, y = side * generator.uniform(92, 112), anatomy.apex + generator.uniform(62, 84)
    can = half_circle(ellipse(plane, (x, y), (22, 19), 0.3) ** 2)
    path = [[x, y - 10], [side * 45, anatomy.apex + 52], [-14, anatomy.hilum], [-8, anatomy.domes[0] - 30]]
    path.append([38, anatomy.domes[0] - 16])
    return np.float32(60) * can + curves(plane, [np.array(path)], 0.8) * np.float32(15)


def _sternal_wires(anatomy: Anatomy, plane: Plane, generator: np.random.Generator) -> np.ndarray:
    """A column of small steel loops after heart surgery."""
    loops = []
    x = 0.8 * anatomy.rotation
    for y in np.linspace(anatomy.apex + 62, anatomy.domes[0] - 22, 6):
        dx, dy = generator.normal(0, 2, 2)
        w = generator.uniform(5, 8)
        loop = [[x + dx - w, y + dy - 2], [x + dx, y + dy - 5], [x + dx + w, y + dy], [x + dx, y + dy + 4]]
        loops.append(np.array([*loop, loop[0]]))
    return curves(plane, loops, 0.5) * np.float32(30)
