"""Pictures: NumPy arrays, Pillow images and picture files <-> :class:`Picture`.

What goes in comes out: pixels are taken as they are stored, 8 or 16 bits deep, with alpha, ICC profile,
EXIF and XMP. Nothing is dropped or squeezed in silence; what cannot be carried is an ImageError that says
what to do.

=====================================  ==================================================================
input                                  becomes
=====================================  ==================================================================
1, L, LA, La                           gray, 8 bit, alpha not premultiplied
P, PA                                  RGB, 8 bit (gray if every palette colour is gray and there is no
                                       ICC profile); palette transparency becomes alpha
RGB, RGBX, RGBA, RGBa                  RGB, 8 bit, alpha not premultiplied
a transparent colour (PNG tRNS)        alpha, 0 where the pixel has that colour
YCbCr, HSV                             RGB, 8 bit, by Pillow's conversion
LAB                                    RGB, 8 bit, sRGB, by Pillow's colour management; its profile goes
I;16 (L, B, N), I within 0..65535      gray, 16 bit (12-bit TIFF is scaled, white-is-zero inverted)
16-bit PNG, TIFF and PPM, any layout   16 bit, although Pillow alone would squeeze their colours to 8
CMYK, F, I outside of 0..65535         ImageError
several frames or pages                ImageError (of a JPEG with more pictures, the first is taken)
AVIF above 8 bits, planar 16-bit TIFF  ImageError (Pillow reads 8 bits of them)
=====================================  ==================================================================

The EXIF orientation stays what it is, except that Pillow turns TIFF pictures upright itself;
:func:`apply_orientation` turns the pixels. Not carried: resolution outside of EXIF; PNG's gAMA, cHRM, cICP.
"""

from __future__ import annotations

from aecodec.image.colours import strip_metadata
from aecodec.image.conversion import picture_to_pillow
from aecodec.image.picture import (
    Frame,
    Picture,
    Samples,
    apply_orientation,
    from_float_rgb,
    interleaved,
    picture_from_array,
    picture_to_array,
    reduce_to_8_bit,
    samples_from_float_rgb,
    samples_to_float_rgb,
    to_float_rgb,
)
from aecodec.image.png import plane_from_png, plane_to_png
from aecodec.image.reading import DEFAULT_MAX_PIXELS, READABLE_FORMATS, load_picture, picture_from_pillow
from aecodec.image.writing import (
    WRITABLE_FORMATS,
    check_fits,
    format_of,
    open_picture_file,
    save_picture,
    writes_rows,
)

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "READABLE_FORMATS",
    "WRITABLE_FORMATS",
    "Frame",
    "Picture",
    "Samples",
    "apply_orientation",
    "check_fits",
    "format_of",
    "from_float_rgb",
    "interleaved",
    "load_picture",
    "open_picture_file",
    "picture_from_array",
    "picture_from_pillow",
    "picture_to_array",
    "picture_to_pillow",
    "plane_from_png",
    "plane_to_png",
    "reduce_to_8_bit",
    "samples_from_float_rgb",
    "samples_to_float_rgb",
    "save_picture",
    "strip_metadata",
    "to_float_rgb",
    "writes_rows",
]
