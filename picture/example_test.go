package picture_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"os"
	"path/filepath"

	"hrlab/picture"

	xdraw "golang.org/x/image/draw"
)

// plain is a picture of one colour.
func plain(w, h int, c color.Color) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, w, h))
	draw.Draw(img, img.Rect, image.NewUniform(c), image.Point{}, draw.Src)
	return img
}

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	path := filepath.Join(dir, "sea.jpg")
	how := picture.Encoding{Quality: 90, Comment: "nothing but water"}
	if err := picture.Save(path, plain(60, 40, color.NRGBA{0, 90, 160, 255}), how); err != nil {
		fmt.Println(err)
		return
	}
	p, err := picture.Load(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(filepath.Base(p.Name), p.Bounds().Size(), len(p.File()) > 0, p.Notes)
	// Output: sea.jpg (60,40) true []
}

// Notes are for the user.
func ExampleRead() {
	var file bytes.Buffer
	frame := image.NewPaletted(image.Rect(0, 0, 20, 20), color.Palette{color.Black, color.White})
	if err := gif.EncodeAll(&file, &gif.GIF{Image: []*image.Paletted{frame, frame}, Delay: []int{1, 1}}); err != nil {
		fmt.Println(err)
		return
	}
	p, err := picture.Read("blink.gif", &file)
	fmt.Println(p.Name, p.Notes[0], err)
	_, err = picture.Read("blink.gif", bytes.NewReader(p.File()[:20]))
	fmt.Println(err)
	// Output:
	// blink.gif is animated: its first frame is taken <nil>
	// blink.gif: the file is cut short
}

func ExampleEncoding_Check() {
	fmt.Println(picture.Encoding{Bits: 16}.Check("boat.jpg"))
	fmt.Println(picture.Encoding{}.Check("boat.gif"))
	// Output:
	// boat.jpg: only .png has 16 bits per channel
	// boat.gif: unknown picture format ".gif"; allowed: .png, .jpg, .jpeg, .webp
}

func ExampleScale() {
	clear := plain(600, 400, color.Transparent)
	small := picture.Scale(clear, 60, 40, xdraw.CatmullRom)
	fmt.Println(small.Rect.Size(), small.At(0, 0))
	// Output: (60,40) {255 255 255 255}
}

func ExampleJPEG() {
	data, err := picture.JPEG(plain(600, 400, color.White), 320, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, format, err := image.DecodeConfig(bytes.NewReader(data))
	fmt.Println(format, c.Width, c.Height, err)
	// Output: jpeg 320 213 <nil>
}

func ExampleFormat() {
	fmt.Printf("%q %q\n", picture.Format("BOAT.JPG"), picture.Format("boat.txt"))
	// Output: "JPEG" ""
}
