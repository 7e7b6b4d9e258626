package main

import (
	"context"
	"errors"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hrlab/picture"

	"hrlab/hrstyle/sample"

	"golang.org/x/image/draw"
)

// Ctrl-C in a folder leaves the results that are finished, and nothing else.
func TestApplyStops(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.Mkdir(in, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.png", "b.png", "c.png"} {
		if err := picture.Save(filepath.Join(in, name), sample.Content(16, 16), picture.Encoding{}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	said := &strings.Builder{}
	messages := writerFunc(func(text []byte) (int, error) {
		if strings.HasPrefix(string(text), filepath.Join(out, "b.png")) {
			cancel()
		}
		return said.Write(text)
	})
	apply := applyCmd{generatorFlags: generatorFlags{Generator: "../../hrstyle/testdata/hrnet_init.safetensors"}, Pictures: []string{in}, Out: out, Format: "png", Device: "go"}
	apply.Bits, apply.Quality = 8, 95
	if err := apply.Run(ctx, &console{out: io.Discard, messages: messages}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if !strings.HasSuffix(said.String(), "stopped: 2 of 3 pictures are done\n") {
		t.Error(said)
	}
	entries, err := os.ReadDir(out)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
	for _, e := range entries {
		if _, err := picture.Load(filepath.Join(out, e.Name())); err != nil {
			t.Error(err)
		}
	}
}

// Ctrl-C in a single large picture leaves nothing, and says so. A fit leaves the picture at the size of the fit.
func TestLargeStops(t *testing.T) {
	generator, err := filepath.Abs("../../hrstyle/testdata/hrnet_init.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := picture.Save("large.png", picture.Scale(sample.Content(52, 50), 1040, 1000, draw.BiLinear), picture.Encoding{}); err != nil {
		t.Fatal(err)
	}
	apply := applyCmd{generatorFlags: generatorFlags{Generator: generator}, Pictures: []string{"large.png"}, Out: "out.png", Device: "go"}
	apply.Bits, apply.Quality = 8, 95
	fit := fitCmd{Content: "large.png", Style: "large.png", Out: "fit.png"}
	fit.Device, fit.VGG, fit.DB, fit.OutSize, fit.Strength, fit.Bits, fit.Quality = "go", "random", "hrlab.db", originalSize, 1, 8, 95
	size, steps := 32, 1
	fit.Size, fit.Steps = &size, &steps
	for _, test := range []struct {
		run  func(context.Context, *console) error
		want string
	}{
		{apply.Run, "stopped: out.png is not written\n"},
		{fit.Run, "stopped: fit.png has the picture at the size of the fit; at the picture's own size: hrlab apply --run 1 large.png --out fit_full.png\n"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		said := &strings.Builder{}
		messages := writerFunc(func(text []byte) (int, error) {
			said.Write(text)
			if string(text) == "large.png: 1040x1000 px\n" {
				cancel()
			}
			return len(text), nil
		})
		if err := test.run(ctx, &console{out: io.Discard, messages: messages}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if !strings.HasSuffix(said.String(), "stopping; Ctrl-C again stops at once\n"+test.want) {
			t.Error(said)
		}
	}
	if files, err := filepath.Glob("*.png"); err != nil || !slices.Equal(files, []string{"fit.png", "large.png"}) {
		t.Errorf("%q, %v", files, err)
	}
}

// While a picture is encoded its made-up name is not taken yet: a kill at that time would leave an empty file.
func TestEncodedFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	out := place{path, path}
	img := watched{sample.Content(16, 16), func() {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("there is a file: %v", err)
		}
	}}
	if err := out.write(out.encoded(img, picture.Encoding{})); err != nil {
		t.Fatal(err)
	}
	if _, err := picture.Load(path); err != nil {
		t.Error(err)
	}
}

// watched is a picture that tells when it is looked at.
type watched struct {
	image.Image
	look func()
}

func (w watched) Bounds() image.Rectangle {
	w.look()
	return w.Image.Bounds()
}

// Where nobody sees a terminal, a large picture tells every half minute that it is worked at.
func TestApplying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		stop := (&console{messages: &said}).newCounter(1).applying(t.Context(), "a.png")
		time.Sleep(70 * time.Second)
		stop()
		if want := "a.png: applying, 30 s\na.png: applying, 60 s\n"; said.String() != want {
			t.Errorf("%q, want %q", said.String(), want)
		}
	})
}

type writerFunc func(text []byte) (int, error)

func (f writerFunc) Write(text []byte) (int, error) { return f(text) }
