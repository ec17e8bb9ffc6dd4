#!/bin/sh
# Pushes what `make images` built to a registry, and keeps the digests in images.lock.yaml, where compiled pipelines
# take them from: push.sh REGISTRY TAG
set -eu
registry=$1
tag=$2
engine=${ENGINE:-docker}
lock=$(dirname "$0")/images.lock.yaml

case $tag in
"" | *-dirty)
    echo "commit first: the tag '$tag' would not say which code is in the images" >&2
    exit 1
    ;;
esac

# What the registry calls the image that was just pushed. podman's inspect names digests of its own.
digest_of() {
    case $(basename "$engine") in
    podman) cat "$lock.digest" ;;
    *) "$engine" inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$1:$tag" |
        sed -n "s#^$1@##p" | head -n 1 ;;
    esac
}

push() {
    case $(basename "$engine") in
    podman) podman push --digestfile "$lock.digest" "$1" ;;
    *) "$engine" push "$1" ;;
    esac
}

trap 'rm -f "$lock.part" "$lock.digest"' EXIT
echo "# The images that compiled pipelines name: what \`make push\` pushed last." > "$lock.part"
for name in data torch mlflow; do
    image=$registry/crossface-$name
    "$engine" tag "crossface-$name:dev" "$image:$tag"
    push "$image:$tag"
    digest=$(digest_of "$image")
    test -n "$digest" || { echo "$image:$tag has no digest after its push" >&2; exit 1; }
    echo "$name: {image: \"$image@$digest\", tag: \"$tag\"}" >> "$lock.part"
done
mv "$lock.part" "$lock"
cat "$lock"
echo "for manifests/overlays/prod/kustomization.yaml:"
echo "  - {name: mlflow, newName: $image, digest: $digest}"
