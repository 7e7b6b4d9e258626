package device_test

import (
	"fmt"

	"hrlab/hrstyle/device"
)

func ExampleOpen() {
	d, err := device.Open(device.Go) // device.Auto takes the best there is and says why
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Finalize()
	fmt.Println(d.Kind, d.Why)
	// Output: go as asked for
}
