"""Writes pictures in every format and colour space that Load reads, from many kinds of container, and what
Pillow with LittleCMS makes of each as expected/NAME.png. To run in this folder, with these versions:

    pip install pillow==13.0.0 numpy==2.4.6 tifffile==2026.3.3 imagecodecs==2026.3.6
"""

import io
import pathlib
import struct
import zlib

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms, ImageOps

W, H = 29, 21
y, x = np.mgrid[0:H, 0:W].astype(float)
waves = np.stack([127 + 120 * np.sin(x / 7 + y / 11), 127 + 120 * np.cos(x / 9), 127 + 120 * np.sin((x + y) / 13)], -1)
rgb = Image.fromarray(waves.round().astype(np.uint8))
alpha = rgb.convert("RGBA")
alpha.putalpha(Image.fromarray(((x * 7) % 256).astype(np.uint8)))
# Blocks of 8x8 px, each of one colour, which JPEG keeps as they are: what differs is the colour code alone.
blocks = Image.fromarray(np.kron(np.asarray(rgb)[::5, ::7][:4, :4], np.ones((8, 8, 1), np.uint8)))


def lattice(channels, side, steps):
    """All combinations of side values, then the axis of grey and every edge of the cube, corner to corner."""
    values = np.round(np.linspace(0, 255, side))
    points = [np.stack(np.meshgrid(*[values] * channels, indexing="ij"), -1).reshape(-1, channels)]
    ramp = np.round(np.linspace(0, 255, steps))[:, None]
    points.append(np.repeat(ramp, channels, 1))
    for axis in range(channels):
        for corner in range(2 ** (channels - 1)):
            line = np.zeros((steps, channels))
            line[:, [c for c in range(channels) if c != axis]] = [255 * (corner >> i & 1) for i in range(channels - 1)]
            line[:, axis : axis + 1] = ramp
            points.append(line)
    points = np.concatenate(points).astype(np.uint8)
    height = -(-len(points) // 36)
    return np.concatenate([points, np.repeat(points[-1:], 36 * height - len(points), 0)]).reshape(height, 36, channels)


gamut = lattice(3, 9, 16)
inks = lattice(4, 5, 5)
greys = np.arange(256, dtype=np.uint8).reshape(16, 16)

# ICC profiles (ICC.1:2001-04, ICC.1:2022).

D50 = np.array((0.9642, 1, 0.8249))


def fixed(*values):
    return b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def pad(data):
    return data + bytes(-len(data) % 4)


def curve(*values):
    return b"curv\0\0\0\0" + struct.pack(f">I{len(values)}H", len(values), *values)


def formula(kind, *values):
    return b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + fixed(*values)


def profile(name, tags, space=b"RGB ", pcs=b"XYZ ", version=2, kind=b"mntr"):
    if version == 2:
        desc = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name.encode() + bytes(79)
    else:
        desc = b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", 2 * len(name), 28) + name.encode("utf-16-be")
    tags = {b"desc": desc, b"cprt": b"text\0\0\0\0none\0", b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50)} | tags
    body, table, at = b"", struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", at + len(body), len(data))
        body += pad(data)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4xBBxx4s4s4s12x4s", size, version, 0x30 if version == 4 else 0x40, kind, space, pcs, b"acsp")
    return (head.ljust(68, b"\0") + fixed(*D50)).ljust(128, b"\0") + table + body


def matrix(name, columns, trc, version=2):
    tags = {c + b"XYZ": b"XYZ \0\0\0\0" + fixed(*v) for c, v in zip((b"r", b"g", b"b"), np.transpose(columns))}
    return profile(name, tags | {c + b"TRC": trc for c in (b"r", b"g", b"b")}, version=version)


def columns(red, green, blue, white):
    """XYZ of three primaries, adapted to D50 by Bradford's method."""
    xyz = lambda c: np.array((c[0] / c[1], 1, (1 - c[0] - c[1]) / c[1]))
    rgb = np.transpose([xyz(red), xyz(green), xyz(blue)])
    rgb = rgb * np.linalg.solve(rgb, xyz(white))
    bradford = np.array(((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)))
    scale = np.diag(bradford @ D50 / (bradford @ xyz(white)))
    return np.linalg.inv(bradford) @ scale @ bradford @ rgb


D65 = (0.3127, 0.3290)
RGB709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65)
RGB2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65)
RGBP3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65)
RGBDCI = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351))
RGBADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), D65)
RGBPROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001), (0.3457, 0.3585))
SRGB = formula(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
VIDEO = formula(3, 1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
P3 = matrix("Display P3", columns(*RGBP3), SRGB, 4)
ADOBE = matrix("Adobe RGB (1998)", columns(*RGBADOBE), curve(563))
LINEAR = matrix("linear", columns(*RGB709), curve())


def lab(xyz):
    t = xyz / D50
    f = np.where(t > (24 / 116) ** 3, np.cbrt(np.maximum(t, 1e-9)), 841 / 108 * t + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def table(points, kind, pcs):
    """What a device makes of a lattice of points, in the code of a kind of table."""
    if points.shape[-1] == 4:
        points = 1 - np.minimum(points[..., :3] * 0.9 + points[..., 3:] * 0.95, 1)
    xyz = points**2.2 @ columns(*RGBP3).T
    if pcs == b"XYZ ":
        code = xyz * (32768 / 257 if kind == b"mft1" else 32768)
    else:
        scale = {b"mft1": (2.55, 1), b"mft2": (652.8, 256), b"mAB ": (655.35, 257)}[kind]
        code = (lab(xyz) + (0, 128, 128)) * (scale[0], scale[1], scale[1])
    most = 255 if kind == b"mft1" else 65535
    return np.clip(code.round(), 0, most).astype("u1" if kind == b"mft1" else ">u2").tobytes()


def lut(name, kind, channels, side, pcs, gamma=1.2, sides=None):
    """A profile with a colour table (lut8Type, lut16Type, lutAToBType)."""
    sides = sides or [side] * channels
    points = np.stack(np.meshgrid(*[np.linspace(0, 1, n) for n in sides], indexing="ij"), -1)
    data = table(points, kind, pcs)
    if kind == b"mAB ":
        curves = pad(curve()) * 3
        clut = bytes(sides).ljust(16, b"\0") + b"\2\0\0\0" + data
        tag = struct.pack(">4s4xBBxxIIIII", kind, channels, 3, 32, 0, 0, 32 + len(curves), 32 + len(curves) + len(pad(clut)))
        tag += curves + pad(clut) + pad(formula(0, gamma)) * channels
    else:
        most, code = (255, "u1") if kind == b"mft1" else (65535, ">u2")
        ramp = np.linspace(0, 1, 256)
        entry = (ramp**gamma * most).round().astype(code).tobytes()
        tag = kind + bytes(4) + bytes([channels, 3, side, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
        tag += b"" if kind == b"mft1" else struct.pack(">HH", 256, 256)
        tag += entry * channels + data + (ramp * most).round().astype(code).tobytes() * 3
    space = {3: b"RGB ", 4: b"CMYK"}[channels]
    return profile(name, {b"A2B0": tag}, space, pcs, 4 if kind == b"mAB " else 2, b"scnr" if channels == 3 else b"prtr")


GREY = profile("grey 1.5", {b"kTRC": curve(384)}, b"GRAY")
INKS = lut("inks", b"mft2", 4, 4, b"Lab ", 0.8)

# What is expected.


def expect(name, img=None, icc=None):
    """Saves what Pillow shows, or the picture given, brought from a profile to sRGB and put on white, upright."""
    if img is None:
        img = Image.open(name)
        icc = icc or img.info.get("icc_profile")
        img = ImageOps.exif_transpose(img)
    transparent = "A" in img.getbands() or "transparency" in img.info
    mask = img.convert("RGBA").getchannel("A") if transparent else None
    if img.mode not in ("RGB", "L", "CMYK"):
        img = img.convert("L" if img.mode == "LA" else "RGB")
    if icc:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        # Optimisation makes tables coarser: up to 29 of 255 beside what the profile says.
        img = ImageCms.profileToProfile(img, source, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB", flags=ImageCms.Flags.NOOPTIMIZE)
    img = img.convert("RGB")
    if mask:
        img.putalpha(mask)
        img = Image.alpha_composite(Image.new("RGBA", img.size, "white"), img).convert("RGB")
    img.info.clear()
    pathlib.Path("expected").mkdir(exist_ok=True)
    img.save(f"expected/{name}.png", optimize=True)


def save(name, img, **how):
    img.save(name, **how)
    expect(name)


def write(name, data, img=None, icc=None):
    pathlib.Path(name).write_bytes(data)
    expect(name, img, icc)


def file(img, kind="PNG", **how):
    out = io.BytesIO()
    img.save(out, kind, **how)
    return out.getvalue()


def exif(orientation=1, adobe=False):
    e = Image.Exif()
    e[0x0112] = orientation
    if adobe:
        e.get_ifd(0x8769)[0xA001] = 2
    return e


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(img, *chunks):
    """A PNG file with chunks between its header and its pixels."""
    data = file(img, optimize=True)
    return data[:33] + b"".join(chunks) + data[33:]


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg(img, *segments, **how):
    """A JPEG file with segments after its first marker."""
    return b"\xff\xd8" + b"".join(segments) + file(img, "JPEG", quality=100, subsampling=0, **how)[2:]


# Formats.

save("rgb.png", rgb)
save("grey.png", rgb.convert("L"))
save("palette.png", rgb.quantize(64))
save("alpha.png", alpha)
save("grey-alpha.png", alpha.convert("LA"))
save("444.jpg", rgb, quality=90, subsampling=0)
save("422.jpg", rgb, quality=90, subsampling=1)
save("420.jpg", rgb, quality=90, subsampling=2)
save("progressive.jpg", rgb, quality=90, subsampling=2, progressive=True)
save("rgb.jpg", rgb, quality=90, keep_rgb=True)
for name in ("440", "411"):
    write(f"{name}.jpg", imagecodecs.jpeg8_encode(np.asarray(rgb), level=90, subsampling=name))
write("ycck.jpg", imagecodecs.jpeg8_encode(np.asarray(rgb.convert("CMYK")), level=90, colorspace="CMYK", outcolorspace="YCCK"))
save("grey.jpg", rgb.convert("L"), quality=90)
save("cmyk.jpg", rgb.convert("CMYK"), quality=90)
save("lossless.webp", rgb, lossless=True)
save("lossy.webp", rgb, quality=90)
save("alpha.webp", alpha, lossless=True)
save("alpha-lossy.webp", alpha, quality=90)
save("animated.webp", rgb, save_all=True, append_images=[rgb.rotate(180)], lossless=True)
save("animated.png", rgb, save_all=True, append_images=[rgb.rotate(180)])
save("animated.gif", rgb, save_all=True, append_images=[rgb.rotate(180)])
save("still.gif", rgb.quantize(64))
save("plain.bmp", rgb)
save("palette.bmp", rgb.quantize(64))
save("plain.tiff", rgb)
save("lzw.tiff", rgb, compression="tiff_lzw")
save("deflate.tiff", rgb, compression="tiff_adobe_deflate")

data = file(rgb.convert("CMYK"), "JPEG", quality=90)
at = data.index(b"\xff\xee")
write("cmyk-plain.jpg", data[:at] + data[at + 16 :])

# Colour spaces, over their whole gamut.

cube = Image.fromarray(gamut)
for name, icc in {
    "p3": P3,
    "adobe": ADOBE,
    "linear": LINEAR,
    "prophoto": matrix("ProPhoto RGB", columns(*RGBPROPHOTO), formula(0, 1.8), 4),
    "formula1": matrix("formula 1", columns(*RGB709), formula(1, 2.2, 1.1, -0.1), 4),
    "formula2": matrix("formula 2", columns(*RGB2020), formula(2, 2, 0.9, 0.05, 0.03), 4),
    "formula4": matrix("formula 4", columns(*RGBDCI), formula(4, 2.4, 0.9, 0.05, 0.1, 0.04, 0.01, 0.005), 4),
    "samples": matrix("samples", columns(*RGBADOBE), curve(*(round(65535 * (i / 99) ** 2) for i in range(100)))),
    "lut8": lut("lut8Type", b"mft1", 3, 5, b"Lab "),
    "lut16": lut("lut16Type", b"mft2", 3, 5, b"Lab "),
    "lut16-xyz": lut("lut16Type XYZ", b"mft2", 3, 5, b"XYZ "),
    "lutab": lut("lutAToBType", b"mAB ", 3, 5, b"Lab "),
    "lutab-xyz": lut("lutAToBType XYZ", b"mAB ", 3, 5, b"XYZ "),
}.items():
    write(f"gamut-{name}.png", file(cube, icc_profile=icc, optimize=True))
uneven = lut("first side", b"mAB ", 3, 0, b"Lab ", sides=[7, 5, 5])
write("gamut-side.png", file(cube, icc_profile=uneven, optimize=True))
for name, icc in {"xyz": GREY, "lab": profile("grey L*", {b"kTRC": SRGB}, b"GRAY", b"Lab ", 4)}.items():
    write(f"gamut-grey-{name}.png", file(Image.fromarray(greys), icc_profile=icc, optimize=True))
ink = Image.fromarray(inks, "CMYK")
for name, icc in {"inks": INKS, "inks-lutab": lut("inks", b"mAB ", 4, 4, b"Lab ", 0.8)}.items():
    save(f"gamut-{name}.tiff", ink, compression="tiff_adobe_deflate", icc_profile=icc)

# Colour spaces that PNG says in chunks of its own (PNG specification, third edition, 4.3).


def chrm(red, green, blue, white):
    return chunk(b"cHRM", struct.pack(">8I", *(round(v * 100000) for c in (white, red, green, blue) for v in c)))


def gama(v):
    return chunk(b"gAMA", struct.pack(">I", v))


def cicp(*v):
    return chunk(b"cICP", bytes(v))


def iccp(icc):
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(icc))


srgb = chunk(b"sRGB", b"\0")
with_gamma = lambda v: formula(0, 100000 / v)
for name, chunks, icc in [
    ("gama", (gama(55556),), matrix("", columns(*RGB709), with_gamma(55556), 4)),
    ("gama-srgb", (gama(45455),), None),
    ("gama-chrm-srgb", (gama(45454), chrm(*RGB709)), None),
    ("chrm-srgb", (chrm(*RGB709),), None),
    ("chrm", (chrm(*RGBADOBE),), matrix("", columns(*RGBADOBE), SRGB, 4)),
    ("gama-chrm", (gama(45455), chrm(*RGBDCI)), matrix("", columns(*RGBDCI), with_gamma(45455), 4)),
    ("srgb-first", (gama(100000), chrm(*RGB2020), srgb), None),
    ("iccp-first", (iccp(ADOBE), srgb, gama(100000)), ADOBE),
    ("cicp-p3", (cicp(12, 13, 0, 1), iccp(ADOBE)), P3),
    ("cicp-2020", (cicp(9, 14, 0, 1),), matrix("", columns(*RGB2020), VIDEO, 4)),
    ("cicp-srgb", (cicp(1, 13, 0, 1), iccp(ADOBE)), None),
    ("cicp-pq", (cicp(9, 16, 0, 1), iccp(ADOBE)), ADOBE),
]:
    write(f"chunk-{name}.png", png(cube, *chunks), cube, icc)
write("chunk-gama-grey.png", png(Image.fromarray(greys), gama(100000)), Image.fromarray(greys).convert("RGB"), LINEAR)

# Adobe RGB as cameras say it.

save("exif-adobe.jpg", blocks, quality=100, subsampling=0, exif=exif(6, adobe=True))
expect("exif-adobe.jpg", icc=ADOBE)
save("exif-adobe.webp", rgb, lossless=True, exif=exif(adobe=True))
expect("exif-adobe.webp", icc=ADOBE)
save("exif-adobe.png", alpha, exif=exif(adobe=True))
expect("exif-adobe.png", icc=ADOBE)
save("exif-and-icc.jpg", blocks, quality=100, subsampling=0, exif=exif(adobe=True), icc_profile=P3)

# Profiles in every format, with and without transparency, in 16 bits, and where they do not fit.

half = len(ADOBE) // 2
parts = [segment(0xE2, b"ICC_PROFILE\0" + bytes([i, 2]) + part) for i, part in ((2, ADOBE[half:]), (1, ADOBE[:half]))]
app1 = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>") + segment(0xE1, b"Exif\0\0" + exif(8).tobytes()[6:])
write("icc.jpg", jpeg(blocks, parts[0], app1, parts[1]), ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg(blocks, app1)))), ADOBE)
save("icc-grey.jpg", blocks.convert("L"), quality=100, icc_profile=GREY)
save("icc-inks.jpg", blocks.convert("CMYK"), quality=100, icc_profile=INKS)
save("icc.webp", rgb, lossless=True, icc_profile=ADOBE, exif=exif(5))
save("icc-alpha.webp", alpha, lossless=True, icc_profile=ADOBE)
save("icc-lossy.webp", alpha, quality=100, icc_profile=ADOBE)
save("icc-alpha.png", alpha, icc_profile=P3)
save("icc-grey-alpha.png", alpha.convert("LA"), icc_profile=GREY)
save("icc-palette.png", rgb.quantize(64), icc_profile=ADOBE)
save("icc.tiff", rgb, icc_profile=ADOBE, tiffinfo={0x0112: 7})
save("icc-alpha.tiff", alpha, icc_profile=ADOBE)
save("icc-grey.tiff", rgb.convert("L"), icc_profile=GREY)
gif = file(rgb.quantize(64), "GIF")
at = 13 + 3 * 64
blocks_of = b"".join(bytes([len(ADOBE[i : i + 255])]) + ADOBE[i : i + 255] for i in range(0, len(ADOBE), 255))
write("icc.gif", gif[:at] + b"\x21\xff\x0bICCRGBG1012" + blocks_of + b"\0" + gif[at:], rgb.quantize(64).convert("RGB"), ADOBE)
deep = np.asarray(rgb).astype(np.uint16) * 257
rows = b"".join(b"\0" + r.astype(">u2").tobytes() for r in deep)
header = struct.pack(">IIBBBBB", W, H, 16, 2, 0, 0, 0)
deep_png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + iccp(P3) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
write("icc-16.png", deep_png, rgb, P3)
tifffile.imwrite("icc-16.tiff", deep, photometric="rgb", compression="zlib", predictor=True, iccprofile=ADOBE, metadata=None)
expect("icc-16.tiff", rgb, ADOBE)
write("misfit-grey.png", png(rgb, iccp(GREY)), rgb)
write("misfit-inks.jpg", jpeg(blocks, segment(0xE2, b"ICC_PROFILE\0\1\1" + INKS)), blocks)
write("misfit-rgb.png", png(rgb.convert("L"), iccp(ADOBE)), rgb.convert("L"))
write("misfit-sides.png", png(rgb, iccp(lut("sides", b"mAB ", 3, 0, b"Lab ", sides=[5, 4, 6]))), rgb)
write("misfit-part.jpg", jpeg(blocks, parts[0]), blocks)
write("misfit-damaged.png", png(rgb, iccp(ADOBE[:200])), rgb)

# Orientations.

for o in range(1, 9):
    save(f"turned{o}.png", rgb, exif=exif(o))
fill = b"\xff\xff\xff"
block = segment(0xE1, b"Exif\0\0" + exif(6).tobytes()[6:])
write("turned-fill.jpg", jpeg(blocks, fill + block, fill + segment(0xFE, b"text")))
write("turned-sof1.jpg", jpeg(blocks, block).replace(b"\xff\xc0\0\x11", b"\xff\xc1\0\x11"))
save("turned.webp", rgb, quality=90, exif=exif(6))
save("turned-alpha.webp", alpha, quality=90, exif=exif(3))
late = chunk(b"eXIf", exif(6).tobytes()[6:])
data = file(rgb, optimize=True)
write("turned-late.png", data[:-12] + late + data[-12:])

# Containers.

write("no-end.png", data[:-12], rgb)
write("no-end.jpg", jpeg(blocks)[:-2], blocks)
for kind in ("png", "jpg", "webp", "gif", "bmp", "tiff"):
    whole = {"png": data, "jpg": jpeg(blocks), "webp": file(rgb, "WEBP", lossless=True)}
    whole = whole.get(kind) or file(rgb.quantize(64), {"gif": "GIF", "bmp": "BMP", "tiff": "TIFF"}[kind])
    write(f"trailing.{kind}", whole + b"\0trailing\xff\xd8")
bad = chunk(b"tEXt", b"Comment\0text")[:-1] + b"?"
write("bad-text.png", data[:33] + bad + data[33:], rgb)
at = data.index(b"IDAT") - 4
pixels = struct.unpack(">I", data[at : at + 4])[0]
write("bad-pixels.png", data[: at + 8 + pixels] + bytes(4) + data[at + 12 + pixels :], rgb)
write("really-jpeg.png", jpeg(blocks))
small = rgb.crop((4, 2, 22, 18))


def gif_frame(img, left, top, width, height):
    """A GIF file whose only frame covers a part of it, or more."""
    whole = bytearray(file(img.quantize(16), "GIF"))
    at = whole.index(b",", 13 + 3 * 16)
    struct.pack_into("<HH", whole, 6, width, height)
    struct.pack_into("<HH", whole, at + 1, left, top)
    return bytes(whole)


part = Image.new("RGB", (W, H), "white")
part.paste(small.quantize(16).convert("RGB"), (6, 4))
write("part.gif", gif_frame(small, 6, 4, W, H), part)
large = Image.new("RGB", (small.width + 6, small.height + 4), "white")
large.paste(small.quantize(16).convert("RGB"), (6, 4))
write("larger.gif", gif_frame(small, 6, 4, 10, 10), large)
int24 = lambda v: struct.pack("<I", v)[:3]
riff = lambda name, body: name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
coded = file(small, "WEBP", lossless=True)[12:]
frame = riff(b"ANMF", int24(3) + int24(2) + int24(small.width - 1) + int24(small.height - 1) + int24(100) + b"\0" + coded)
body = riff(b"VP8X", b"\2\0\0\0" + int24(W - 1) + int24(H - 1)) + riff(b"ANIM", bytes(6)) + frame * 2
part = Image.new("RGB", (W, H), "white")
part.paste(small, (6, 4))
write("part.webp", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body, part)
save("still.png", rgb, save_all=True, default_image=True, append_images=[rgb.rotate(180), rgb])

# BMP.


def bmp(header, pixels, palette=b"", size=(W, H)):
    at = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(pixels), 0, 0, at) + header + palette + pixels


def info(size, bits, compression=0, height=H, colours=0, extra=b""):
    return struct.pack("<IiiHHIIiiII", size, W, height, 1, bits, compression, 0, 2835, 2835, colours, 0) + extra


def rows_of(values, bits):
    """Rows from below, each padded to 32 bits."""
    return b"".join(pad(r.tobytes()) for r in values[::-1])


a = np.asarray(rgb).astype(np.uint32)
five = (a[..., 0] >> 3) << 10 | (a[..., 1] >> 3) << 5 | a[..., 2] >> 3
six = (a[..., 0] >> 3) << 11 | (a[..., 1] >> 2) << 5 | a[..., 2] >> 3
bgrx = a[..., 2] | a[..., 1] << 8 | a[..., 0] << 16
with_alpha = bgrx | np.asarray(alpha).astype(np.uint32)[..., 3] << 24
masks = lambda *m: struct.pack(f"<{len(m)}I", *m)
write("555.bmp", bmp(info(40, 16), rows_of(five.astype("<u2"), 16)))
write("565.bmp", bmp(info(40, 16, 3) + masks(0xF800, 0x7E0, 0x1F), rows_of(six.astype("<u2"), 16)))
write("32.bmp", bmp(info(40, 32), rows_of(bgrx.astype("<u4"), 32)))
top = b"".join(pad(r.tobytes()) for r in np.asarray(rgb)[..., ::-1])
write("top-down.bmp", bmp(info(40, 24, height=-H), top))
v4 = masks(0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
write("alpha.bmp", bmp(info(108, 32, 3, extra=v4), rows_of(with_alpha.astype("<u4"), 32)), alpha)
write("alpha-zero.bmp", bmp(info(108, 32, 3, extra=v4), rows_of(bgrx.astype("<u4"), 32)), rgb)
v5 = masks(0xFF0000, 0xFF00, 0xFF, 0) + b"DEBM" + bytes(48) + masks(4, 124 + 4 * W * H, len(ADOBE), 0)
write("icc.bmp", bmp(info(124, 32, 3, extra=v5), rows_of(bgrx.astype("<u4"), 32) + ADOBE), rgb, ADOBE)
os2 = struct.pack("<IHHHH", 12, W, H, 1, 24)
write("os2.bmp", bmp(os2, rows_of(np.asarray(rgb)[..., ::-1], 24)))
few = rgb.quantize(16)
colours = b"".join(bytes(few.getpalette()[3 * i : 3 * i + 3][::-1]) + b"\0" for i in range(16))
index = np.asarray(few)
runs8 = b"".join(b"".join(bytes([1, v]) for v in r[:-5]) + bytes([0, 5]) + r[-5:].tobytes() + b"\0" + b"\0\0" for r in index[::-1]) + b"\0\1"
write("rle8.bmp", bmp(info(40, 8, 1, colours=16), runs8, colours), few.convert("RGB"))
nibbles = lambda r: bytes((r[i] << 4 | (r[i + 1] if i + 1 < len(r) else 0)) for i in range(0, len(r), 2))
runs4 = b"".join(b"".join(bytes([1, v << 4]) for v in r[:-5]) + bytes([0, 5]) + nibbles(r[-5:]) + b"\0" + b"\0\0" for r in index[::-1]) + b"\0\1"
write("rle4.bmp", bmp(info(40, 4, 2, colours=16), runs4, colours), few.convert("RGB"))
packed = np.stack([np.frombuffer(pad(nibbles(r)), np.uint8) for r in index])
write("4.bmp", bmp(info(40, 4, colours=16), rows_of(packed, 8), colours))
write("1.bmp", file(rgb.convert("1"), "BMP"))

# TIFF.


def tiff(name, img, data, **how):
    tifffile.imwrite(name, data, metadata=None, **how)
    expect(name, img)


def jpeg_tiff(name, photometric, samples, coded, img=None):
    """A TIFF file of one strip of JPEG of 32x32 px."""
    entries = [(256, 32), (257, 32), (258, 8), (259, 7), (262, photometric), (273, 150), (277, samples), (278, 32), (279, len(coded))]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in entries)
    write(name, (b"II*\0\x08\0\0\0" + directory).ljust(150, b"\0") + coded, img)


a = np.asarray(rgb)
cmyk = np.asarray(rgb.convert("CMYK"))
planes = a.transpose(2, 0, 1)
tiff("planes.tiff", None, planes, photometric="rgb", planarconfig="separate", rowsperstrip=9)
tiff("planes-tiles.tiff", None, planes, photometric="rgb", planarconfig="separate", tile=(16, 16), compression="zlib", predictor=True)
tiff("tiles.tiff", None, a, photometric="rgb", tile=(16, 16))
tiff("tiles-16.tiff", rgb, deep, photometric="rgb", tile=(16, 16), compression="lzw", predictor=True, byteorder=">")
tiff("big-endian.tiff", None, a, photometric="rgb", byteorder=">", compression="packbits", rowsperstrip=7)
tiff("grey-16.tiff", rgb.getchannel(0), deep[..., 0], photometric="minisblack")
tiff("white-is-zero.tiff", None, a[..., 0], photometric="miniswhite", compression="lzw", predictor=True)
tiff("inks.tiff", None, cmyk, photometric="separated", compression="lzw")
tiff("inks-planes-16.tiff", rgb.convert("CMYK").convert("RGB"), cmyk.transpose(2, 0, 1).astype(np.uint16) * 257, photometric="separated", planarconfig="separate")
tiff("alpha.tiff", None, np.asarray(alpha), photometric="rgb", extrasamples=["unassalpha"])
straight = np.asarray(alpha).astype(int)
tiff("premultiplied.tiff", alpha, np.dstack([(straight[..., :3] * straight[..., 3:] + 127) // 255, straight[..., 3]]).astype(np.uint8), photometric="rgb", extrasamples=["assocalpha"])
tiff("unknown.tiff", rgb, np.asarray(alpha), photometric="rgb", extrasamples=["unspecified"])
tiff("jpeg-420.tiff", None, np.asarray(blocks), photometric="rgb", compression="jpeg", compressionargs={"level": 100}, rowsperstrip=16)
# Red, green and blue in JPEG that does not say so, as libtiff writes it: no Adobe segment, components 1, 2 and 3.
coded = file(blocks, "JPEG", quality=100, subsampling=0, keep_rgb=True)
at = coded.index(b"\xff\xee")
coded = coded[:at] + coded[at + 16 :]
coded = coded.replace(b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0").replace(b"\x03R\0G\0B\0", b"\3\1\0\2\0\3\0")
jpeg_tiff("jpeg-rgb.tiff", 2, 3, coded, blocks)
inks_jpeg = file(blocks.convert("CMYK"), "JPEG", quality=100, subsampling=0)
at = inks_jpeg.index(b"\xff\xee")
inks_jpeg = inks_jpeg[:at] + inks_jpeg[at + 16 :]
jpeg_tiff("jpeg-inks.tiff", 5, 4, inks_jpeg)
tiff("pages.tiff", None, np.stack([a, 255 - a]), photometric="rgb")
save("jpeg-alpha.tiff", Image.merge("RGBA", (*blocks.split(), blocks.getchannel(1))), compression="jpeg", quality=100)
save("jpeg-ycbcr.tiff", blocks, compression="jpeg", quality=100)
save("grey-alpha.tiff", alpha.convert("LA"))
save("palette.tiff", rgb.quantize(64))
save("bits.tiff", rgb.convert("1"))
save("fax3.tiff", rgb.convert("1"), compression="group3")
save("fax3-filled.tiff", rgb.convert("1"), compression="group3", tiffinfo={292: 4})  # ends of lines end at whole bytes
save("fax4.tiff", rgb.convert("1"), compression="group4")

# Smaller than the blocks and neighbourhoods that coders work with.

for w, h in (1, 1), (2, 3), (3, 2), (4, 5), (5, 1):
    tiny = rgb.crop((4, 6, 4 + w, 6 + h))
    for ending, how in ("png", {}), ("webp", {"quality": 90}), ("gif", {}), ("tiff", {"compression": "tiff_lzw"}), ("bmp", {}):
        save(f"tiny-{w}x{h}.{ending}", tiny, **how)
    for i, name in enumerate(("444", "422", "420")):
        save(f"tiny-{w}x{h}-{name}.jpg", tiny, quality=90, subsampling=i)


# Scaling, of a picture and of one on white paper.

on_paper = Image.alpha_composite(Image.new("RGBA", alpha.size, "white"), alpha).convert("RGB")
for name, img in ("rgb", rgb), ("alpha", on_paper):
    for kernel in "bilinear", "bicubic":
        for w, h in (13, 8), (64, 50), (1, 21):
            img.resize((w, h), Image.Resampling[kernel.upper()]).save(f"expected/{name}-{kernel}-{w}x{h}.png")
