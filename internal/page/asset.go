package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"strconv"
	"sync"
	"time"

	"miniblog/internal/web"
)

// Asset is one file as it is sent.
type Asset struct {
	contentType string
	etag        string // strong, without quotes; "" if the file may change while we run
	plain       []byte
	gzipped     func() []byte // nil if that would not be smaller; made when it is first asked for
}

// NewAsset returns a file that does not change while the program runs.
func NewAsset(name string, body []byte) *Asset {
	sum := sha256.Sum256(body)
	return &Asset{contentType: contentType(name), etag: hex.EncodeToString(sum[:12]), plain: body,
		gzipped: sync.OnceValue(func() []byte { return gzipped(body) })}
}

// gzipped returns body compressed, nil if that is not smaller.
func gzipped(body []byte) []byte {
	var zipped bytes.Buffer
	z, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression) // the level exists,
	z.Write(body)                                              // and memory takes every write
	z.Close()
	if zipped.Len() >= len(body) {
		return nil
	}
	return zipped.Bytes()
}

// contentType does not ask the machine, whose table of types may differ or be
// missing.
func contentType(name string) string {
	switch extension := path.Ext(name); extension {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json":
		return "application/json"
	case ".md", ".txt", "":
		return "text/plain; charset=utf-8"
	default:
		if t := mime.TypeByExtension(extension); t != "" {
			return t
		}
		return "application/octet-stream"
	}
}

// Serve sends the file. A browser may keep it but has to ask each time whether
// it is still the same (304), so that an upgrade shows at once.
func (a *Asset) Serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	body := a.plain
	if a.etag == "" {
		h.Set("Cache-Control", "no-store")
	} else {
		h.Set("Cache-Control", "no-cache")
		etag := a.etag
		if zipped := a.gzipped(); zipped != nil {
			h.Add("Vary", "Accept-Encoding")
			if web.AcceptsEncoding(r, "gzip") {
				body, etag = zipped, etag+"-gzip"
				h.Set("Content-Encoding", "gzip")
				h.Set("Content-Length", strconv.Itoa(len(body))) // ServeContent leaves it out
			}
		}
		h.Set("ETag", strconv.Quote(etag))
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
