#!/bin/sh
# From a folder of images to tags over HTTP; called by `make demo`, which sets the variables.
set -eu

if [ "$BACKBONE" = basic_cnn ]; then config=configs/train/sample.yaml; else config=configs/train/$BACKBONE.yaml; fi
if [ ! -f "$config" ]; then
    names=$(cd configs/train && ls | sed -nE '/^(sample|recommended)\.yaml$/!s/\.yaml$//p' | tr '\n' ' ')
    echo "no BACKBONE '$BACKBONE'; choose one of: basic_cnn $names" >&2
    exit 2
fi

# Check the ports before training.
for port in "$PORT" "$METRICS_PORT"; do
    # More than five digits would be too many for the comparison.
    case $port in '' | *[!0-9]* | ??????*) number=0 ;; *) number=$port ;; esac
    if [ "$number" -lt 1 ] || [ "$number" -gt 65535 ]; then
        echo "'$port' is not a port: give PORT= and METRICS_PORT= a number, 1 to 65535" >&2
        exit 2
    fi
done
for port in "$PORT" "$METRICS_PORT"; do
    # 7 is curl's exit code for a port without a listener.
    code=0
    curl -s -o /dev/null --max-time 2 "http://127.0.0.1:$port/" || code=$?
    [ $code -eq 7 ] || { echo "port '$port' is taken: choose others with PORT= and METRICS_PORT=" >&2; exit 1; }
done

data=$DATA
name=$BACKBONE
if [ -z "$data" ]; then
    name=sample
    data=demo/data
    if [ -d "$data" ]; then
        echo "== the synthetic data set is in $data already"
    else
        echo "== drawing a synthetic data set"
        pintag data sample "$data"
    fi
fi

echo "== training $BACKBONE on $data"
# shellcheck disable=SC2086  # ARGS is a list of key=value words
pintag train "$config" --data "$data" --out demo/bundle --overwrite "name=$name" $ARGS

echo "== optimizing it for processors"
pintag optimize demo/bundle --data "$data"

images() {
    grep -iE '\.(jpe?g|png|webp|gif|bmp)$' | sort
}

echo "== serving"
# The server stays in the foreground, so that Ctrl-C ends it; the client waits in the background.
(
    tries=240
    until curl -sf -o /dev/null "http://127.0.0.1:$PORT/v1/model"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] && kill -0 $$ 2>/dev/null || exit 0
        sleep 0.5
    done
    echo "== tagging over HTTP"
    # Eight images, spread over the labels; from the test split if there is one.
    (cd "$data" && find . -type f -path './test*/*/*') | images >demo/images.txt
    [ -s demo/images.txt ] || (cd "$data" && find . -type f -path './*/*') | images >demo/images.txt
    data="$data" awk -v all="$(wc -l <demo/images.txt)" '
        int(NR * 8 / all) > n { n++; print ENVIRON["data"] substr($0, 2) }' demo/images.txt |
        tr '\n' '\0' | xargs -0 pintag tag --url "http://127.0.0.1:$PORT" || true
    echo
    echo "Open http://127.0.0.1:$PORT/ for the page, drop images on it, and click why? beside a tag."
    echo "Or send one:"
    echo "  curl --data-binary @$data/$(sed -n '2s|^\./||p' demo/images.txt) http://127.0.0.1:$PORT/v1/tags"
) &
exec pintag serve --bundle demo/bundle --config configs/serve/local.yaml --port "$PORT" "metrics.port=$METRICS_PORT"
