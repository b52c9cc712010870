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
pintag serve --bundle demo/bundle --config configs/serve/local.yaml --port "$PORT" &
server=$!
# Ctrl-C reaches the server too; the script outlives it to see it stop.
trap 'kill -INT $server 2>/dev/null || true' INT TERM
until curl -sf -o /dev/null "http://127.0.0.1:$PORT/v1/model"; do
    kill -0 $server 2>/dev/null || { wait $server; exit 1; }
    sleep 0.5
done

echo "== tagging over HTTP"
find "$data" -path '*/test/*' -type f | sort | awk 'NR % 15 == 1' | head -8 >demo/tagged.txt
[ -s demo/tagged.txt ] || find "$data" -type f ! -name '.*' | sort | awk 'NR % 50 == 1' | head -8 >demo/tagged.txt
tr '\n' '\0' <demo/tagged.txt | xargs -0 pintag tag --url "http://127.0.0.1:$PORT" || true
echo
echo "The server runs until Ctrl-C:  curl --data-binary @picture.jpg http://127.0.0.1:$PORT/v1/tags"
while kill -0 $server 2>/dev/null; do wait $server && break || true; done
