// Package page serves the files of a page that is part of a program: the blog's
// and the console's, which share their look and what is vendored.
//
// Its law: a browser never shows a file older than the program that serves it,
// and does nothing with a page that the page does not need.
package page

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"miniblog/internal/web"
)

// common holds what every page has: our own in shared/, the modules of others in
// vendor/.
//
//go:embed shared vendor
var common embed.FS

// index is the file that answers for "/", notFound the one that tells a person
// that there is nothing.
const (
	index    = "index.html"
	notFound = "404.html"
)

// Page finds the files of a page by their path in its folder. A file that is
// not there is fs.ErrNotExist.
type Page func(path string) (*Asset, error)

// BuiltIn is a page that is part of the program: read once.
func BuiltIn(root fs.FS) (Page, error) {
	files := map[string]*Asset{}
	for _, folder := range []fs.FS{common, root} {
		err := fs.WalkDir(folder, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			body, err := fs.ReadFile(folder, path)
			files[path] = NewAsset(path, body)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading the embedded page: %w", err)
		}
	}
	return func(path string) (*Asset, error) {
		if file, ok := files[path]; ok {
			return file, nil
		}
		return nil, fs.ErrNotExist
	}, nil
}

// FromFolder is the page in a folder, which cannot be left by dots or links.
// Somebody is editing it: its own files are read anew for every request.
func FromFolder(dir string) (Page, error) {
	root, err := os.OpenRoot(dir)
	if err == nil {
		_, err = root.Stat(index)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: name the folder that holds the page's %s, or leave it unset", err, index)
	}
	return func(path string) (*Asset, error) {
		folder := root.FS()
		if strings.HasPrefix(path, "shared/") || strings.HasPrefix(path, "vendor/") {
			folder = common
		}
		if info, err := fs.Stat(folder, path); err != nil || info.IsDir() {
			return nil, fs.ErrNotExist
		}
		body, err := fs.ReadFile(folder, path)
		if err != nil {
			return nil, fmt.Errorf("reading the page: %w", err)
		}
		return &Asset{contentType: contentType(path), plain: body}, nil
	}, nil
}

// Serve answers with the file at a path, "" being the index.
func (p Page) Serve(w http.ResponseWriter, r *http.Request, path string) error {
	if path == "" {
		path = index
	}
	file, err := p(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p.missing(w, r)
	}
	if err != nil {
		return err
	}
	file.Serve(w, r)
	return nil
}

// missing answers a person with a page, if there is one for that, and a program
// with a problem.
func (p Page) missing(w http.ResponseWriter, r *http.Request) error {
	w.Header().Add("Vary", "Accept")
	file, err := p(notFound)
	if err != nil || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return Nothing(r)
	}
	w.Header().Set("Cache-Control", "no-store")
	web.WriteBody(w, http.StatusNotFound, file.contentType, file.plain)
	return nil
}

// Nothing is the 404 of a path that no page has.
func Nothing(r *http.Request) error {
	return web.NewProblem(http.StatusNotFound, "There is nothing at %.100q. The page is at \"/\".", r.URL.Path)
}
