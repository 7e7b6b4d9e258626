package video_test

import (
	"fmt"

	"hrlab/video"
)

func ExampleIs() {
	fmt.Println(video.Is("boat.MP4"), video.Is("boat.jpg"))
	// Output: true false
}

func ExampleCheckName() {
	fmt.Println(video.CheckName("out.mkv"))
	fmt.Println(video.CheckName("out.avi"))
	// Output:
	// <nil>
	// out.avi: unknown format ".avi" of a video; allowed: .mp4, .mov, .mkv
}
