#!/bin/sh
# From a folder of images to tags over HTTP; called by `make demo`, which sets the variables.
set -eu

if [ "$BACKBONE" = basic_cnn ]; then config=configs/train/sample.yaml; else config=configs/train/$BACKBONE.yaml; fi
[ -f "$config" ] || { echo "no BACKBONE '$BACKBONE': there is no $config" >&2; exit 2; }

data=$DATA
if [ -z "$data" ]; then
    data=demo/data
    echo "== a synthetic data set, drawn by the program"
    [ -d "$data" ] || pintag data sample "$data"
fi

echo "== fitting $BACKBONE on $data"
# shellcheck disable=SC2086  # ARGS is a list of key=value words
pintag train "$config" --data "$data" --out demo/bundle --overwrite $ARGS

echo "== serving"
# The server stays in the foreground, where Ctrl-C reaches it; the client waits beside it.
(
    tries=240
    until curl -sf -o /dev/null "http://127.0.0.1:$PORT/v1/model"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] && kill -0 $$ 2>/dev/null || exit 0
        sleep 0.5
    done
    echo "== tagging over HTTP"
    # A few images of each kind; of the test split where there is one.
    find "$data" -type f -path '*/test*/*' ! -name '.*' | sort >demo/images.txt
    [ -s demo/images.txt ] || find "$data" -type f -path '*/*/*' ! -name '.*' | sort >demo/images.txt
    awk -v all="$(wc -l <demo/images.txt)" 'int(NR * 8 / all) > n { n++; print }' demo/images.txt |
        tr '\n' '\0' | xargs -0 pintag tag --url "http://127.0.0.1:$PORT" || true
    echo
    echo "The server runs until Ctrl-C. Try it on a picture of yours:"
    echo "  curl --data-binary @picture.jpg http://127.0.0.1:$PORT/v1/tags"
) &
exec pintag serve --bundle demo/bundle --config configs/serve/local.yaml --port "$PORT"
