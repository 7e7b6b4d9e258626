package hrstyle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"hrlab/hrstyle/safetensors"

	"github.com/google/renameio/v2"
)

// VGG holds the weights of VGG19's convolutions up to conv5_1. They are not trained.
type VGG struct {
	Label  string // for people: the name and digest of the file, or that the filters are random
	Digest string // the file's sha256 in hexadecimal, or "random"

	weights []safetensors.Tensor // kernel [out,in,3,3] and bias [out] of every convolution
}

// LoadVGG reads weights from a safetensors or PyTorch file. Tensors have torchvision's names (features.N.weight,
// features.N.bias) and are float32, float16 or bfloat16. The weights must be for torchvision's inputs: RGB in [0,1],
// normalised by ImageNet's mean and standard deviation.
func LoadVGG(path string) (*VGG, error) {
	file, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	v, in := &VGG{}, 3
	for _, l := range vgg19 {
		kernel, err := file.Tensor(l.tensor("weight"), l.out, in, 3, 3)
		if err != nil {
			return nil, err
		}
		bias, err := file.Tensor(l.tensor("bias"), l.out)
		if err != nil {
			return nil, err
		}
		v.weights, in = append(v.weights, kernel, bias), l.out
	}
	digest, err := fileDigest(path)
	if err != nil {
		return nil, err
	}
	v.Digest, v.Label = digest, fmt.Sprintf("%s (sha256 %s…)", filepath.Base(path), digest[:12])
	return v, nil
}

// CachedVGG returns the path where Options.VGG auto looks for VGG19's weights, whether they are there or not. Beside it, with
// .sha256 at the end, is the digest of the file as it was fetched.
func CachedVGG() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no directory for VGG19's weights: set HOME, name a file by --vgg FILE, or take --vgg random (%w)", err)
	}
	return filepath.Join(dir, "hrlab", "vgg19.safetensors"), nil
}

// FetchVGG puts VGG19's weights up to conv5_1 at the path that CachedVGG returns. source is a URL or a file that LoadVGG
// reads. If it is empty, the weights come from Torchvision, unless they are there already and unchanged. See
// [safetensors.Fetch] for what report is told, and what an interruption leaves.
func FetchVGG(ctx context.Context, source string, report func(stage string, done, total int64)) (path string, err error) {
	path, err = CachedVGG()
	if err != nil {
		return "", err
	}
	if _, err := loadCachedVGG(); err == nil && source == "" {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", err
	}
	remote := Torchvision
	if source != "" {
		remote = safetensors.Source{URL: source}
	}
	if strings.HasPrefix(remote.URL, "http://") || strings.HasPrefix(remote.URL, "https://") {
		shapes, in := map[string][]int{}, 3
		for _, l := range vgg19 {
			shapes[l.tensor("weight")], shapes[l.tensor("bias")] = []int{l.out, in, 3, 3}, []int{l.out}
			in = l.out
		}
		err = safetensors.Fetch(ctx, remote, path, shapes, report)
	} else {
		err = copyVGG(source, path)
	}
	if err != nil {
		return "", err
	}
	digest, err := fileDigest(path)
	if err != nil {
		return "", err
	}
	return path, renameio.WriteFile(path+".sha256", []byte(digest+"  "+filepath.Base(path)+"\n"), 0o666, renameio.WithTempDir(filepath.Dir(path)))
}

// copyVGG writes the weights of one file to another, in float32.
func copyVGG(source, path string) error {
	v, err := LoadVGG(source)
	if err != nil {
		return err
	}
	tensors := map[string]safetensors.Tensor{}
	for i, l := range vgg19 {
		tensors[l.tensor("weight")], tensors[l.tensor("bias")] = v.weights[2*i], v.weights[2*i+1]
	}
	return safetensors.Write(path, tensors, map[string]string{"source": source})
}

// loadCachedVGG loads the weights that FetchVGG put there, if they are still the same.
func loadCachedVGG() (*VGG, error) {
	path, err := CachedVGG()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s: hrlab setup fetches them; or put a safetensors or .pth file with torchvision's names there, name one by --vgg FILE, or take --vgg random", ErrNoVGG, path)
	}
	v, err := LoadVGG(path)
	if err == nil {
		if sum, readErr := os.ReadFile(path + ".sha256"); readErr == nil && !strings.HasPrefix(string(sum), v.Digest) {
			err = fmt.Errorf("%s: has changed since it was fetched (sha256 %.12s…, then %.12s…)", path, v.Digest, sum)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: hrlab setup weights fetches it again", err)
	}
	return v, nil
}

// fileDigest is the sha256 of a file in hexadecimal.
func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// RandomVGG returns random filters in the shapes of VGG19's, always the same. They are He-normal, and scaled so that the map
// of every layer has the root mean square that VGG19's has on photographs. Random filters are a published stand-in for
// trained ones (He, Wang, Hopcroft, "A Powerful Generative Model Using Random Weights for the Deep Image Representation",
// NIPS 2016). Yet results differ: say so wherever they are shown.
func RandomVGG() *VGG {
	random := rand.New(rand.NewPCG(19, 0)) //nolint:gosec // reproducible on purpose
	v, in := &VGG{Label: "random filters, not VGG19", Digest: "random"}, 3
	before := 1.0 // root mean square of a normalised picture
	for _, l := range vgg19 {
		// He-normal filters keep the root mean square; the factor moves it from the layer before to this one.
		std := math.Sqrt(2/float64(9*in)) * l.rms / before
		kernel := safetensors.Tensor{Shape: []int{l.out, in, 3, 3}, Data: make([]float32, l.out*in*9)}
		for i := range kernel.Data {
			kernel.Data[i] = float32(random.NormFloat64() * std)
		}
		v.weights = append(v.weights, kernel, safetensors.Tensor{Shape: []int{l.out}, Data: make([]float32, l.out)})
		in, before = l.out, l.rms
	}
	return v
}

// Random says whether the filters are random, so that losses and pictures are not what VGG19 gives.
func (v *VGG) Random() bool { return v.Digest == "random" }

// Torchvision is where FetchVGG fetches torchvision's VGG19 (BSD-3-Clause) from. It takes 52 of the file's 575 MB.
var Torchvision = safetensors.Source{
	URL:    "https://huggingface.co/timm/vgg19.tv_in1k/resolve/128d4708565b3a414bcbb9bbad440b2fe37b9f18/model.safetensors",
	SHA256: "11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669",
}

// ErrNoVGG says that there are no VGG19 weights in the user's cache directory.
var ErrNoVGG = errors.New("no VGG19 weights")

// OpenVGG reads the weights that Options.VGG names, without a device. For none it returns nil.
func OpenVGG(source string) (*VGG, error) {
	switch source {
	case "none":
		return nil, nil
	case "random":
		return RandomVGG(), nil
	case "", "auto":
		return loadCachedVGG()
	}
	return LoadVGG(source)
}
