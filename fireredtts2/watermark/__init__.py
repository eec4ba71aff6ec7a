"""An inaudible mark in speech, put in while it streams, found again with the same key.

Levels of narrow bands are raised and lowered a little in a pattern that only the key gives
(spread spectrum in the spectrum's levels: Cox et al. 1997, section 4; pairs of a raised and a
lowered cell, as in the patchwork of Bender et al. 1996, section 3.2). A band's level is what every
audio codec keeps, and what no change of volume, crop or filter takes away.
"""

from fireredtts2.watermark.detector import Detection, detect
from fireredtts2.watermark.marker import Marker
from fireredtts2.watermark.pattern import WatermarkKey

__all__ = ["Detection", "Marker", "WatermarkKey", "detect"]
