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
	"slices"
	"strings"

	"hrlab/hrstyle/safetensors"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/google/renameio/v2"
)

type vggLayer struct {
	name  string
	index int
	out   int
	pool  bool
	rms   float64
}

// tensor is the name of the layer's weight or bias in files.
func (l vggLayer) tensor(part string) string { return fmt.Sprintf("features.%d.%s", l.index, part) }

// vgg19 lists VGG19's convolutions up to conv5_1 (Simonyan and Zisserman, arXiv 1409.1556, table 1, column E), each
// 3x3 with zero padding 1 and a ReLU; pool says that a 2x2 max pool comes before. index is torchvision's, rms the root
// mean square of the map after ReLU over photographs, which random filters are scaled to.
var vgg19 = []vggLayer{
	{"conv1_1", 0, 64, false, 0.33},
	{"conv1_2", 2, 64, false, 1.48},
	{"conv2_1", 5, 128, true, 1.18},
	{"conv2_2", 7, 128, false, 1.48},
	{"conv3_1", 10, 256, true, 1.57},
	{"conv3_2", 12, 256, false, 1.74},
	{"conv3_3", 14, 256, false, 3.04},
	{"conv3_4", 16, 256, false, 5.30},
	{"conv4_1", 19, 512, true, 5.30},
	{"conv4_2", 21, 512, false, 4.25},
	{"conv4_3", 23, 512, false, 2.55},
	{"conv4_4", 25, 512, false, 0.95},
	{"conv5_1", 28, 512, true, 0.69},
}

// contentLayer is the map that the content loss compares; StyleLayers are those of the style loss.
const contentLayer = "conv4_2"

// StyleLayers names the maps that the style loss compares, in the order of Config.LayerWeights.
var StyleLayers = [5]string{"conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"}

// VGG holds VGG19's convolutions up to conv5_1, frozen.
type VGG struct {
	Label  string // where the weights come from, for people: a file's name and digest, or what random filters mean
	Digest string // the file's sha256 in hexadecimal, or "random"

	weights []safetensors.Tensor // kernel [out,in,3,3] and bias [out] of every convolution
}

// LoadVGG reads weights from a safetensors or PyTorch file in torchvision's names (features.N.weight, features.N.bias),
// float32, float16 or bfloat16. Inputs are expected as torchvision's: RGB in [0,1], normalised by ImageNet's mean and deviation.
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

// Torchvision is where FetchVGG gets torchvision's VGG19 (BSD-3-Clause) from: 52 of 575 MB.
var Torchvision = safetensors.Source{
	URL:    "https://huggingface.co/timm/vgg19.tv_in1k/resolve/128d4708565b3a414bcbb9bbad440b2fe37b9f18/model.safetensors",
	SHA256: "11aea017b543ff59233749d8f1cf544cda749378f5790d2fedab841fb86b7669",
}

// CachedVGG is where Options.VGG auto looks for VGG19's weights; beside it is their sha256 as they were fetched.
func CachedVGG() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no directory for VGG19's weights: set HOME, name a file by --vgg FILE, or take --vgg random (%w)", err)
	}
	return filepath.Join(dir, "hrlab", "vgg19.safetensors"), nil
}

// FetchVGG puts VGG19's weights up to conv5_1 into the user's cache directory, unless they are there unharmed: from Torchvision,
// or from source, an URL or a file that LoadVGG reads. See [safetensors.Fetch] for what report is told and what an
// interruption leaves.
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
	return path, renameio.WriteFile(path+".sha256", []byte(digest+"  "+filepath.Base(path)+"\n"), 0o666)
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

// RandomVGG draws He-normal filters from a fixed seed and scales every layer so that its map has the size that VGG19's
// has on photographs. Random filters are a published stand-in for trained ones (He, Wang, Hopcroft, "A Powerful
// Generative Model Using Random Weights for the Deep Image Representation", NIPS 2016), yet results differ: say so
// wherever they are shown.
func RandomVGG() *VGG {
	random := rand.New(rand.NewPCG(19, 0)) //nolint:gosec // reproducible on purpose
	v, in := &VGG{Label: "random filters, not VGG19", Digest: "random"}, 3
	before := 1.0 // root mean square of a normalised picture
	for _, l := range vgg19 {
		// He-normal filters keep the root mean square; the factor moves it from the layer before to this one.
		deviation := math.Sqrt(2/float64(9*in)) * l.rms / before
		kernel := safetensors.Tensor{Shape: []int{l.out, in, 3, 3}, Data: make([]float32, l.out*in*9)}
		for i := range kernel.Data {
			kernel.Data[i] = float32(random.NormFloat64() * deviation)
		}
		v.weights = append(v.weights, kernel, safetensors.Tensor{Shape: []int{l.out}, Data: make([]float32, l.out)})
		in, before = l.out, l.rms
	}
	return v
}

// Random says that the filters are random: losses and pictures are not those of VGG19.
func (v *VGG) Random() bool { return v.Digest == "random" }

// vggGraph builds VGG19 and its gradient. The gradient is written by hand because automatic differentiation would flip
// and transpose 11 million weights in every step: here that is done once (prepareVGG).
type vggGraph struct {
	kernels, flipped, biases []*Node // [3,3,in,out], [3,3,out,in], [out]
	native                   bool    // the backend's own convolution is good

	maps    map[string]*Node // every map after its ReLU
	pooling []poolNodes      // in the order of vgg19; zero where there is no pool
}

type poolNodes struct{ in, out *Node }

// prepareVGG turns kernels [out,in,3,3] into those of vggGraph, in the order of its fields.
func prepareVGG(kernels []*Node) (prepared []*Node) {
	for _, k := range kernels {
		prepared = append(prepared, TransposeAllAxes(k, 2, 3, 1, 0))
	}
	for _, k := range kernels {
		prepared = append(prepared, Reverse(TransposeAllAxes(k, 2, 3, 0, 1), 0, 1))
	}
	return prepared
}

// forward computes the maps of a normalised picture [1,H,W,3].
func (v *vggGraph) forward(x *Node) {
	v.maps, v.pooling = map[string]*Node{}, make([]poolNodes, len(vgg19))
	for i, l := range vgg19 {
		if l.pool {
			v.pooling[i] = poolNodes{x, maxPool(x)}
			x = v.pooling[i].out
		}
		x = relu(Add(convolve(x, v.kernels[i], 1, v.native), Reshape(v.biases[i], 1, 1, 1, -1)))
		v.maps[l.name] = x
	}
}

// backward returns the gradient of a loss with respect to the picture, given its gradients with respect to the maps.
func (v *vggGraph) backward(gradients map[string]*Node) (d *Node) {
	for i, l := range slices.Backward(vgg19) {
		m := v.maps[l.name]
		if own := gradients[l.name]; d == nil {
			d = own
		} else if own != nil {
			d = Add(d, own)
		}
		d = convolve(Where(positive(m), d, ZerosLike(d)), v.flipped[i], 1, v.native)
		if p := v.pooling[i]; p.in != nil {
			d = Gradient(ReduceAllSum(Mul(p.out, StopGradient(d))), p.in)[0]
		}
	}
	return d
}

// maxPool is a 2x2 maximum with stride 2 that leaves out an odd last row or column, as maxima of pairs: quicker and far
// smaller in memory than GoMLX's MaxPool and its gradient. Pairs are an axis, because the gradient of a slice with a
// stride is slow.
func maxPool(x *Node) *Node {
	for _, axis := range []int{1, 2} {
		dims := slices.Clone(x.Shape().Dimensions)
		dims[axis] /= 2
		pairs := Reshape(SliceAxis(x, axis, AxisRange(0, 2*dims[axis])), slices.Insert(slices.Clone(dims), axis+1, 2)...)
		even := Reshape(SliceAxis(pairs, axis+1, AxisRange(0, 1)), dims...)
		odd := Reshape(SliceAxis(pairs, axis+1, AxisRange(1, 2)), dims...)
		x = Where(GreaterThan(odd, even), odd, even)
	}
	return x
}
