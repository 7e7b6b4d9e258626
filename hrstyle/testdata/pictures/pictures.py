"""Writes pictures in every format that LoadPicture reads and, as expected/NAME.png, what Pillow 13 makes of each."""

import io
import pathlib
import struct

import numpy as np
from PIL import Image, ImageCms, ImageOps

W, H = 37, 26
y, x = np.mgrid[0:H, 0:W].astype(float)
waves = np.stack([127 + 120 * np.sin(x / 7 + y / 11), 127 + 120 * np.cos(x / 9), 127 + 120 * np.sin((x + y) / 13)], -1)
rgb = Image.fromarray(waves.round().astype(np.uint8))
soft = Image.fromarray((waves * 0.4 + 76).round().astype(np.uint8))  # within sRGB whatever the profile
alpha = rgb.convert("RGBA")
alpha.putalpha(Image.fromarray(((x * 7) % 256).astype(np.uint8)))


def profile(name, gamma, primaries):
    """An ICC profile of a matrix and a gamma (ICC.1:2001-04); primaries: columns of XYZ, adapted to D50."""
    fixed = lambda v: struct.pack(">i", round(v * 65536))
    xyz = lambda v: b"XYZ \0\0\0\0" + b"".join(map(fixed, v))
    text = name.encode() + b"\0"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = {b"desc": desc, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz((0.9642, 1, 0.8249))}
    tags |= {c + b"XYZ": xyz(v) for c, v in zip((b"r", b"g", b"b"), primaries)}
    tags |= {c + b"TRC": curve for c in (b"r", b"g", b"b")}
    body, table, at = b"", struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4xI4s4s4s12x4s4x", 128 + len(table) + len(body), 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + b"".join(map(fixed, (0.9642, 1, 0.8249)))
    return head.ljust(128, b"\0") + table + body


P3 = profile("Display P3 (gamma 2.2)", 2.2, ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)))
ADOBE = profile("Adobe RGB (1998)", 563 / 256, ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)))


def expect(name):
    img = Image.open(name)
    icc = img.info.get("icc_profile")
    img = ImageOps.exif_transpose(img)
    if icc:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        img = ImageCms.profileToProfile(img.convert("RGB"), source, ImageCms.createProfile("sRGB"), outputMode="RGB", flags=flags)
    if "A" in img.getbands() or "transparency" in img.info:
        img = Image.alpha_composite(Image.new("RGBA", img.size, "white"), img.convert("RGBA"))
    pathlib.Path("expected").mkdir(exist_ok=True)
    img.convert("RGB").save(f"expected/{name}.png", optimize=True)


def save(name, img, **how):
    img.save(name, **how)
    expect(name)


save("rgb.png", rgb)
save("grey.png", rgb.convert("L"))
save("palette.png", rgb.quantize(64))
save("alpha.png", alpha)
save("grey-alpha.png", alpha.convert("LA"))
save("444.jpg", rgb, quality=90, subsampling=0)
save("422.jpg", rgb, quality=90, subsampling=1)
save("420.jpg", rgb, quality=90, subsampling=2)
save("progressive.jpg", rgb, quality=90, subsampling=2, progressive=True)
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
save("p3.jpg", soft, quality=90, subsampling=0, icc_profile=P3)
save("p3.png", soft, icc_profile=P3)
save("adobe.webp", soft, lossless=True, icc_profile=ADOBE)
for o in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = o
    save(f"turned{o}.png", rgb, exif=exif)
