package safetensors_test

import (
	"fmt"
	"os"
	"path/filepath"

	"hrlab/hrstyle/safetensors"
)

func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	path := filepath.Join(dir, "x.safetensors")
	tensors := map[string]safetensors.Tensor{"weight": {Shape: []int{2, 2}, Data: []float32{1, 2, 3, 4}}}
	if err := safetensors.Write(path, tensors, map[string]string{"made": "by hand"}); err != nil {
		fmt.Println(err)
		return
	}
	file, err := safetensors.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	weight, err := file.Tensor("weight", 2, 2)
	fmt.Println(weight.Data, file.Metadata["made"], err)
	// Output: [1 2 3 4] by hand <nil>
}
