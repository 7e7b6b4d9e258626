package sample_test

import (
	"fmt"

	"hrlab/hrstyle/sample"
)

// The built-in pair: a landscape by day, and a coast at dusk, which is darker.
func Example() {
	day, dusk := sample.Content(64, 48), sample.Style(64, 48)
	fmt.Println(day.Bounds().Size(), dusk.Bounds().Size())
	fmt.Println(day.RGBAAt(32, 0).B > dusk.RGBAAt(32, 0).B)
	// Output:
	// (64,48) (64,48)
	// true
}
