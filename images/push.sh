#!/bin/sh
# Pushes what `make images` built to a registry, and keeps the digests in images.lock.yaml, where compiled pipelines
# take them from: push.sh REGISTRY TAG
set -eu
registry=$1
tag=$2
engine=${ENGINE:-docker}
lock=$(dirname "$0")/images.lock.yaml

echo "# The images that compiled pipelines name: what \`make push\` pushed last." > "$lock.part"
for name in data torch; do
    image=$registry/crossface-$name
    "$engine" tag "crossface-$name:dev" "$image:$tag"
    "$engine" push "$image:$tag"
    # only a registry gives a digest
    digest=$("$engine" inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image:$tag" | grep "^$image@" | head -n 1)
    test -n "$digest" || { echo "$image:$tag has no digest after its push" >&2; exit 1; }
    echo "$name: {image: \"$digest\", tag: \"$tag\"}" >> "$lock.part"
done
mv "$lock.part" "$lock"
cat "$lock"
