#!/bin/sh
# Builds the six images with Docker, podman or buildah, whichever this machine has:
#   infra/images.sh [option for the build...]
# ENGINE=podman chooses one; GO_IMAGE=... replaces the Go image that they are built with;
# SERVICES="posts query" builds only those.
set -eu
cd "$(dirname "$0")/.."

version=1.0.0 # the tag that infra/k8s and compose.yaml name
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)

engine=${ENGINE:-}
if [ -z "$engine" ]; then
	for e in docker podman buildah; do
		if "$e" info >/dev/null 2>&1; then
			engine=$e
			break
		fi
	done
fi
case $engine in
docker) export DOCKER_BUILDKIT=1 ;;
podman | buildah) set -- --layers "$@" ;;
'')
	echo "No Docker, podman or buildah answers here. Install one of them, or start Docker; in minikube: eval \$(minikube docker-env)" >&2
	exit 1
	;;
*)
	echo "ENGINE=$engine: must be docker, podman or buildah" >&2
	exit 1
	;;
esac
[ -z "${GO_IMAGE:-}" ] || set -- --build-arg GO_IMAGE="$GO_IMAGE" "$@"

for service in ${SERVICES:-posts comments query moderation event-bus client}; do
	echo "== miniblog/$service:$version ($engine)"
	"$engine" build -f "$service/Dockerfile" -t "docker.io/miniblog/$service:$version" \
		--build-arg VERSION="$version" --build-arg REVISION="$revision" "$@" .
done
