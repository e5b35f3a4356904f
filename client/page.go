package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"

	"miniblog/internal/web"
)

// index is the file that answers for "/", notFound the one that tells a person
// that there is nothing.
const (
	index    = "index.html"
	notFound = "404.html"
)

// page finds the files of the page by their path in its folder. A file that
// is not there is fs.ErrNotExist.
type page func(path string) (*asset, error)

// builtIn is the page that is part of the program: read and compressed once.
func builtIn(root fs.FS) (page, error) {
	files := map[string]*asset{}
	err := fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(root, path)
		files[path] = newAsset(path, body)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the embedded page: %w", err)
	}
	return func(path string) (*asset, error) {
		if file, ok := files[path]; ok {
			return file, nil
		}
		return nil, fs.ErrNotExist
	}, nil
}

// fromFolder is a page that somebody is editing: read anew for every request.
func fromFolder(root fs.FS) page {
	return func(path string) (*asset, error) {
		if info, err := fs.Stat(root, path); err != nil || info.IsDir() {
			return nil, fs.ErrNotExist
		}
		body, err := fs.ReadFile(root, path)
		if err != nil {
			return nil, fmt.Errorf("reading the page: %w", err)
		}
		return &asset{contentType: contentType(path), plain: body}, nil
	}
}

// openPage returns the page built into this program or, if dir is not empty,
// the one in that folder, which cannot be left by dots or links.
func openPage(dir string) (page, error) {
	if dir == "" {
		root, err := fs.Sub(embedded, "page")
		if err != nil {
			return nil, fmt.Errorf("opening the embedded page: %w", err)
		}
		return builtIn(root)
	}
	root, err := os.OpenRoot(dir)
	if err == nil {
		_, err = root.Stat(index)
	}
	if err != nil {
		return nil, fmt.Errorf("PAGE_DIR=%q: %w: name the folder that holds the page's %s, or leave it unset", dir, err, index)
	}
	return fromFolder(root.FS()), nil
}

// serve answers for every path that nobody else answers for.
func (p page) serve(w http.ResponseWriter, r *http.Request) error {
	path := strings.TrimPrefix(r.URL.Path, "/")
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
	file.serve(w, r)
	return nil
}

// notFiles are the paths that can be got, but are no files of the page.
var notFiles = []string{"", configFile, "healthz", "readyz", "metrics"}

// refuse answers other methods than GET: 404 where there is nothing to GET, so
// that nobody takes a path of a service that is not there for one of the page.
func (p page) refuse(w http.ResponseWriter, r *http.Request) error {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if _, err := p(path); err != nil && !slices.Contains(notFiles, path) {
		return web.NewProblem(http.StatusNotFound, "There is nothing at %.100q. The page is at \"/\".", r.URL.Path)
	}
	return web.NotAllowed(w.Header(), r.Method, "GET, HEAD")
}

// missing answers a person with a page and a program with a problem.
func (p page) missing(w http.ResponseWriter, r *http.Request) error {
	w.Header().Add("Vary", "Accept")
	file, err := p(notFound)
	if err != nil || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return web.NewProblem(http.StatusNotFound, "There is nothing at %.100q. The page is at \"/\".", r.URL.Path)
	}
	w.Header().Set("Cache-Control", "no-store")
	web.WriteBody(w, http.StatusNotFound, file.contentType, file.plain)
	return nil
}
