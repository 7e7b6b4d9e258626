package lut_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"

	"hrlab/lut"
	"hrlab/picture"
)

// A picture that became warmer: the LUT makes other pictures warmer too, and is written as a .cube file.
func Example() {
	before, after := image.NewRGBA(image.Rect(0, 0, 64, 64)), image.NewRGBA(image.Rect(0, 0, 64, 64))
	for y := range 64 {
		for x := range 64 {
			v := color.RGBA{uint8(50 + 2*x), uint8(50 + 2*y), uint8(50 + x + y), 255}
			before.SetRGBA(x, y, v)
			after.SetRGBA(x, y, color.RGBA{v.R + 20, v.G, v.B - 20, 255})
		}
	}
	cube, match, err := lut.Fit(picture.Picture{Image: before}, picture.Picture{Image: after}, 17)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("within ΔE2000 1: %v; no LUT: %.0f%%\n", match.P95 < 1, 100*match.Rest())

	grey := image.NewRGBA(image.Rect(0, 0, 1, 1))
	grey.SetRGBA(0, 0, color.RGBA{100, 100, 100, 255})
	fmt.Println(color.RGBAModel.Convert(cube.Apply(grey).At(0, 0)))
	line, _, _ := bytes.Cut(bytes.TrimPrefix(cube.Encode(), []byte("TITLE \"\"\n")), []byte("\n"))
	fmt.Printf("%s\n", line)
	// Output:
	// within ΔE2000 1: true; no LUT: 0%
	// {120 100 80 255}
	// LUT_3D_SIZE 17
}
