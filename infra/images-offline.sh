#!/bin/sh
# Builds the six images with buildah where no registry can be reached, as root: this machine's own Go,
# shell, module cache and build cache stand in for the Go image. Options as for infra/images.sh.
set -eu
cd "$(dirname "$0")/.."

stand_in=localhost/miniblog-go:stand-in
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/usr" "$root/tmp" "$root/root" "$root/go/pkg/mod"
for folder in bin sbin lib lib64; do
	ln -s "usr/$folder" "$root/$folder"
done
container=$(buildah from scratch)
buildah copy -q "$container" "$root" / >/dev/null
buildah config --env PATH=/host/go/bin:/usr/bin:/bin --env GOROOT=/host/go --env GOTOOLCHAIN=local \
	--env GOMODCACHE=/host/modules --env GOPROXY=off --env GOCACHE=/host/cache "$container"
buildah commit -q --rm "$container" "$stand_in" >/dev/null

export BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}" ENGINE=buildah GO_IMAGE="$stand_in"
infra/images.sh -v /usr:/usr:ro -v "$(go env GOROOT):/host/go:ro" -v "$(go env GOMODCACHE):/host/modules:ro" \
	-v "$(go env GOCACHE):/host/cache" "$@"
