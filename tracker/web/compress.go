package web

import (
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// compressed sends text with gzip to those who take it. Pictures are compressed already, and events must not wait for more.
var compressed = func() func(http.Handler) http.HandlerFunc {
	wrap, err := gzhttp.NewWrapper(gzhttp.EnableZstd(false), // its window takes megabytes a request
		gzhttp.ContentTypes([]string{"text/html", "text/css", "text/javascript", "application/json"}))
	if err != nil {
		panic(err)
	}
	return wrap
}()
