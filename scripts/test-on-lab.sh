#!/usr/bin/env bash
# Runs `make test-cluster` on a cluster that this machine has for itself: the maintainers' program `lab` (LAB=PROGRAM)
# starts and ends it. Images are built by podman, as tests/image does, since nothing is pulled there.
#   scripts/test-on-lab.sh images | up | test | all
set -euo pipefail
cd "$(dirname "$0")/.."
lab=$(realpath "${LAB:-../shared/lab/lab}")
prefix=docker.io/library
base=$prefix/python:3.11-slim-bookworm

main() {
  case ${1:-all} in
    images) images ;;
    up) up ;;
    test) run_tests ;;
    all)
      images
      trap '"$lab" down' EXIT
      up
      run_tests
      ;;
  esac
}

images() {
  podman image exists "$base" || import_base
  build pintag:1 .
  # The bundle is in the image, as in docs/tutorials/first-cluster.md.
  [ -d demo/bundle ] || demo_bundle
  printf 'FROM %s/pintag:1\nCOPY --chmod=755 bundle /models/pins\n' "$prefix" >demo/Dockerfile
  build pintag:1-demo demo
  podman tag "$prefix/pintag:1-demo" "$prefix/pintag:2-demo" # to upgrade to
  # Stands in for Redis's own image.
  printf 'FROM %s\nRUN apt-get update && apt-get install -y --no-install-recommends redis-server\nUSER 999\n' "$base" >demo/Dockerfile
  build redis:8.2-bookworm demo
  # An S3 store.
  printf 'FROM %s\nRUN python -m venv /s3 && /s3/bin/pip install --no-cache-dir "moto[s3]" flask flask-cors\nUSER 1000\n' "$base" \
    >demo/Dockerfile
  build s3:1 demo
}

import_base() { # Debian's packages of Python stand in for the base image
  local root
  root=$(mktemp -d)
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" >/dev/null
  ln -s python3 "$root/usr/bin/python"
  tar -C "$root" -c . |
    podman import --quiet --change 'ENV PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' - "$base" >/dev/null
  rm -rf "$root"
}

build() { # build TAG FOLDER
  local file options=()
  for file in /etc/ssl/certs/ca-certificates.crt /etc/pip.conf; do
    [ ! -e "$file" ] || options+=(--volume="$file:$file:ro")
  done
  podman build --quiet --isolation=chroot --layers=false --format=docker --pull=never --network=host \
    "${options[@]}" --tag "$prefix/$1" "$2" >/dev/null
}

demo_bundle() {
  .venv/bin/pintag data sample demo/data
  .venv/bin/pintag train configs/train/sample.yaml --data demo/data --out demo/bundle --overwrite name=sample
  .venv/bin/pintag optimize demo/bundle --data demo/data
}

up() {
  local number
  "$lab" up "${NODES:-2}"
  "$lab" image "$prefix/pintag:1-demo" "$prefix/pintag:2-demo" "$prefix/redis:8.2-bookworm" "$prefix/s3:1"
  # A volume for the Redis of each installation: none is used twice.
  for number in $(seq 20); do "$lab" volume "redis$number" 2Gi; done
  gateway_api || echo 'no Gateway API: tests/cluster/test_gateway.py will be skipped' >&2
  prometheus_operator || echo 'no definitions of the Prometheus operator: its objects will not be tried' >&2
}

prometheus_operator() { # its definitions alone
  local module=github.com/prometheus-operator/prometheus-operator@v0.89.0 kind
  go mod download "$module" &&
    for kind in podmonitors prometheusrules; do
      "$lab" kubectl apply --server-side \
        --filename "$(go env GOMODCACHE)/$module/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" || return
    done
}

gateway_api() { # its definitions, and then the operator's feature that needs them
  local module=sigs.k8s.io/gateway-api@v1.4.0
  local gates=RayClusterStatusConditions=true,RayServiceIncrementalUpgrade=true
  go mod download "$module" &&
    "$lab" kubectl apply --server-side --filename "$(go env GOMODCACHE)/$module/config/crd/standard" &&
    "$lab" kubectl --namespace default patch deployment kuberay-operator --type=json --patch \
      '[{"op": "replace", "path": "/spec/template/spec/containers/0/args/0", "value": "--feature-gates='"$gates"'"}]' &&
    "$lab" kubectl --namespace default rollout status deployment kuberay-operator --timeout=5m
}

run_tests() {
  export PINTAG_CLUSTER_STOP_KUBELET="$lab kubelet \${NODE#lab} stop" PINTAG_CLUSTER_START_KUBELET="$lab kubelet \${NODE#lab} start"
  export PINTAG_CLUSTER_CUT="$lab cut \${NODE#lab}" PINTAG_CLUSTER_MEND="$lab mend \${NODE#lab}"
  if "$lab" kubectl get crd httproutes.gateway.networking.k8s.io >/dev/null 2>&1; then
    export PINTAG_CLUSTER_INCREMENTAL=1
  fi
  PINTAG_CLUSTER_IMAGE=$prefix/pintag:1-demo PINTAG_CLUSTER_STORE_IMAGE=$prefix/s3:1 PINTAG_CLUSTER_DISPOSABLE=1 \
    "$lab" exec make test-cluster ARGS="${ARGS:-}"
}

main "$@"
