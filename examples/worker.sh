#!/usr/bin/env bash
# A worker in shell: asks a study for trials, trains each with a program of any language, reports, and tells the end.
#
#     hpo submit study.yaml                     # trainer: {external: true}
#     HPO_URL=http://127.0.0.1:8421 examples/worker.sh STUDY_ID [TRAIN_COMMAND]
#
# TRAIN_COMMAND finds in its environment the parameters (lr as PARAM_lr), and FROM and TARGET, from where to how far it
# trains. It prints a line `STEP METRIC=VALUE …` for each report. Here it is awk: put your own program in its place.
# Needs curl, and python3 to read JSON.
set -euo pipefail

study=${1:?usage: worker.sh STUDY_ID [TRAIN_COMMAND]}
train=${2:-'awk "BEGIN { for (s = $FROM + 1; s <= $TARGET; s++) print s, \"loss=\" (log($PARAM_lr) + 5) ^ 2 + 1 / s }"'}
me=${HPO_CLIENT_ID:-$(hostname)-$$}
api=${HPO_URL:-http://127.0.0.1:8421}/api/v1/studies/$study

post() { # post VERB BODY → the answer. A repeated request, after a lost answer, does nothing more.
    curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused --max-time 60 \
        -H 'Content-Type: application/json' ${HPO_TOKEN:+-H "Authorization: Bearer $HPO_TOKEN"} \
        -d "$2" "$api/$1"
}

field() { python3 -c "import json, sys; a = json.load(sys.stdin); $1"; } # field STATEMENT: prints from the answer `a`

keep_alive() { # heartbeats until this shell ends it
    while sleep 20; do post heartbeat "{\"client_id\": \"$me\"}" || true; done
}

while :; do
    answer=$(post ask "{\"client_id\": \"$me\", \"n\": 1, \"lease_s\": 60}")
    [ -z "$(field 'print(a.get("ended") or "")' <<< "$answer")" ] || break
    # number, fence, from where and how far; then an `export` line for each parameter. Nothing while none can be started.
    given=$(field 'import re, shlex
for t in a["trials"]:
    print(t["trial"], t["fence"], int(t["from_resource"]), int(t["target"] or 1))
    for name, value in t["params"].items():
        print("export PARAM_" + re.sub(r"\W", "_", name) + "=" + shlex.quote(str(value)))' <<< "$answer")
    [ -n "$given" ] || { sleep 1; continue; }
    read -r trial fence FROM TARGET <<< "${given%%$'\n'*}"
    export FROM TARGET

    keep_alive > /dev/null 2>&1 & beating=$!
    trap 'kill "$beating" 2> /dev/null || true' EXIT
    if (eval "$(tail -n +2 <<< "$given")"; eval "$train") | while read -r step values; do
        metrics=$(python3 -c 'import json, sys
print(json.dumps({name: float(value) for name, _, value in (word.partition("=") for word in sys.argv[1:])}))' $values)
        post reports "{\"reports\": [{\"trial\": $trial, \"fence\": $fence, \"step\": $step, \"metrics\": $metrics}]}" \
            > /dev/null || exit 1 # refused: stopped, or given to another
    done; then
        end='"state": "completed"'
    else
        end='"state": "failed", "reason": "the training command failed"'
    fi
    kill "$beating" && wait "$beating" 2> /dev/null || true
    post tell "{\"trial\": $trial, \"fence\": $fence, $end}" \
        | field 'print("trial", a["number"], a["state"], a["value"])' || echo "trial $trial had ended already"
done
echo "the study has ended"
