#!/usr/bin/env bash
# Uses every route of a running track and checks what it answers: ./examples.sh [BASE_URL [QUERY_URL]]
#
# BASE_URL   where events are posted (http://127.0.0.1:8080)
# QUERY_URL  where queries are asked, if that is another service
#
# Takes bash, curl and gzip; runs on Linux and macOS, and against a server that has seen events before:
# users are new in each run. Exits with 1 at the first unexpected answer.
set -euo pipefail

base="${1:-http://127.0.0.1:8080}" base="${base%/}"
query="${2:-$base}" query="${query%/}"
run="$(date +%s)-$$"
user="examples-$run"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

fail() {
  echo "    FAILED: $1" >&2
  echo "    status  $status" >&2
  echo "    headers $(tr -d '\r' <"$work/headers" | tr '\n' '|')" >&2
  echo "    body    $(head -c 1000 "$work/body")" >&2
  exit 1
}

title() { echo; echo "$1"; }

# call WHAT curl-arguments…: sends a request; leaves $status and the files headers and body. What is refused for the
# moment (429; a query's 503, while partitions move from one process to another) is sent again for half a minute.
call() {
  local what="$1" deadline=$((SECONDS + 30))
  echo "  $what"
  shift
  while true; do
    : >"$work/headers"
    : >"$work/body"
    status=$(curl -sS --max-time 30 -D "$work/headers" -o "$work/body" -w '%{http_code}' "$@") || fail "no answer from $base or $query"
    case "$what: $status" in *": 429" | "GET "*": 503") ;; *) return 0 ;; esac
    [ $SECONDS -lt $deadline ] || return 0
    sleep "$(header retry-after)"
  done
}

answers() { # answers STATUS [BODY]: the whole body, to the letter
  [ "$status" = "$1" ] || fail "expected status $1"
  [ $# -lt 2 ] || [ "$(cat "$work/body")" = "$2" ] || fail "expected body $2"
}

says() { grep -qF -- "$1" "$work/body" || fail "expected the body to contain: $1"; }

header() { # header NAME, in small letters
  tr -d '\r' <"$work/headers" | awk -v name="$1:" 'tolower($1) == name { sub(/^[^:]*: */, ""); print }' | tail -1
}

# A query with the position of the last event waits until that event is counted.
position=""
posted() {
  position=$(header track-position)
  [ -n "$position" ] || fail "expected a Track-Position header"
}

metrics() { # metrics WHAT parameter=value…
  local what="$1" parameters=() parameter
  shift
  for parameter in "$@"; do parameters+=(--data-urlencode "$parameter"); done
  call "GET /metrics: $what" -G "$query/metrics" --data-urlencode "min_position=$position" "${parameters[@]}"
}

sessions() {
  local what="$1" parameters=() parameter
  shift
  for parameter in "$@"; do parameters+=(--data-urlencode "$parameter"); done
  call "GET /sessions: $what" -G "$query/sessions" --data-urlencode "min_position=$position" "${parameters[@]}"
}

event() { # event NAME TIMESTAMP [more fields]
  printf '{"event":"%s","user_id":"%s","timestamp":"%s"%s}' "$1" "$user" "$2" "${3:-}"
}

logged='{"status":"success","message":"Event logged."}'
january="start_date=2025-01-01 end_date=2025-01-31"

title "One event at a time"
call "POST /track: a play on New Year's Day" "$base/track" -d "$(event play 2025-01-01T12:00:00Z)"
answers 200 "$logged"
call "POST /track: its stop, eight minutes later, said in Berlin's time" "$base/track" -d "$(event stop 2025-01-01T13:08:00+01:00)"
answers 200 "$logged"
posted
# shellcheck disable=SC2086 # two parameters
metrics "by day" $january "user_id=$user"
answers 200 '{"status":"success","data":[{"date":"2025-01-01","play":1,"stop":1}]}'
# shellcheck disable=SC2086
sessions "the same day" $january "user_id=$user"
answers 200 '{"status":"success","data":[{"date":"2025-01-01","totalDuration":480,"sessionCount":1,"averageDuration":480}]}'

title "The same event twice counts once"
for _ in first second; do
  call "POST /track: event_id like-$run" "$base/track" -d "$(event like 2025-01-02T09:00:00Z ",\"event_id\":\"like-$run\"")"
  answers 200 "$logged"
done
posted
# shellcheck disable=SC2086
metrics "only likes" $january "user_id=$user" event=like
answers 200 '{"status":"success","data":[{"date":"2025-01-02","like":1}]}'

title "Many events in one request"
call "POST /track/batch: an array, a stop before its play among it" "$base/track/batch" \
  -d "[$(event stop 2025-01-14T20:30:00Z),$(event play 2025-01-14T20:00:00Z),$(event play 2025-01-20T23:30:00Z),$(event stop 2025-01-21T00:30:00Z)]"
answers 200
says '"accepted":4'
posted
before="$position"
printf '%s\n{"event":"","user_id":"%s"}\n%s\n' "$(event open 2025-01-31T23:59:59.999Z)" "$user" "$(event open 2025-02-01T00:00:00Z)" |
  gzip -c >"$work/batch.gz"
call "POST /track/batch: NDJSON with one bad line, gzipped" "$base/track/batch" \
  -H 'Content-Type: application/x-ndjson' -H 'Content-Encoding: gzip' --data-binary "@$work/batch.gz"
answers 200
says '"accepted":2'
says '"rejected":[{"index":1,'
posted
position="$before,$position"

title "What came of it"
# shellcheck disable=SC2086
metrics "by week, from Sunday" $january "user_id=$user" group_by=week event=play
answers 200 '{"status":"success","data":[{"date":"2024-12-29","play":1},{"date":"2025-01-12","play":1},{"date":"2025-01-19","play":1}]}'
# shellcheck disable=SC2086
metrics "by week, from Monday" $january "user_id=$user" group_by=week week_start=monday event=play
answers 200 '{"status":"success","data":[{"date":"2024-12-30","play":1},{"date":"2025-01-13","play":1},{"date":"2025-01-20","play":1}]}'
metrics "by month, two events" start_date=2025-01-01 end_date=2025-02-28 "user_id=$user" group_by=month event=open event=like
answers 200 '{"status":"success","data":[{"date":"2025-01-01","like":1,"open":1},{"date":"2025-02-01","open":1}]}'
metrics "by hour" start_date=2025-01-20 end_date=2025-01-21 "user_id=$user" group_by=hour
answers 200 '{"status":"success","data":[{"date":"2025-01-20T23:00","play":1},{"date":"2025-01-21T00:00","stop":1}]}'
metrics "by day in Tokyo, nine hours ahead" start_date=2025-01-20 end_date=2025-01-21 "user_id=$user" timezone=Asia/Tokyo
answers 200 '{"status":"success","data":[{"date":"2025-01-21","play":1,"stop":1}]}'
# shellcheck disable=SC2086
sessions "by month: 8, 30 and 60 minutes" $january "user_id=$user" group_by=month
answers 200 '{"status":"success","data":[{"date":"2025-01-01","totalDuration":5880,"sessionCount":3,"averageDuration":1960}]}'
sessions "of a day: a session belongs to the day it began" start_date=2025-01-21 end_date=2025-01-21 "user_id=$user"
answers 200 '{"status":"success","data":[]}'
# shellcheck disable=SC2086
metrics "of a user nobody knows" $january "user_id=$user-nobody"
answers 200 '{"status":"success","data":[]}'
# shellcheck disable=SC2086
metrics "of everybody: at least ours" $january event=like
answers 200
says '"date":"2025-01-02","like":'

title "What is changed on the way in"
call "POST /track: a timestamp in the future becomes the server's" "$base/track" -d "$(event play 9999-12-31T00:00:00Z)"
answers 200
says '"warnings":['
call "POST /track: metadata over 4,096 bytes is replaced" "$base/track" \
  -d "$(event play 2025-03-01T00:00:00Z ",\"metadata\":{\"text\":\"$(printf '%05000d' 0)\"}")"
answers 200
says '"warnings":['

title "What is refused"
call "POST /track: no user_id" "$base/track" -d '{"event":"play"}'
answers 400
says '"status":"error"'
call "POST /track: an empty name" "$base/track" -d "{\"event\":\"\",\"user_id\":\"$user\"}"
answers 400
call "POST /track: not JSON" "$base/track" -d 'event=play'
answers 400
call "POST /track: a day that does not exist" "$base/track" -d "$(event play 2025-02-30T00:00:00Z)"
answers 400
call "POST /track/batch: nothing good in it" "$base/track/batch" -d '[{"event":"play"},{"user_id":"x"}]'
answers 400
says '"status":"error"'
call "POST /track: over 64 KiB" "$base/track" -d "$(event play 2025-01-01T00:00:00Z ",\"metadata\":\"$(printf '%070000d' 0)\"")"
answers 413
call "POST /track: an encoding it does not know" "$base/track" -H 'Content-Encoding: br' -d "$(event play 2025-01-01T00:00:00Z)"
answers 415
call "GET /metrics: without dates" "$query/metrics"
answers 400 '{"status":"error","message":"start_date and end_date are required"}'
call "GET /sessions: a date that does not exist" "$query/sessions?start_date=2025-02-30&end_date=2025-03-01"
answers 400 '{"status":"error","message":"Invalid date format. Use YYYY-MM-DD"}'
call "GET /metrics: the wrong way round" "$query/metrics?start_date=2025-02-01&end_date=2025-01-01"
answers 400
call "GET /metrics: a time zone that does not exist" "$query/metrics?start_date=2025-01-01&end_date=2025-01-01&timezone=Mars/Olympus"
answers 400
call "GET /nowhere" "$base/nowhere"
answers 404
says '"status":"error"'
call "DELETE /track" -X DELETE "$base/track"
answers 405
says '"status":"error"'

title "The API's own description"
call "GET /openapi.json" "$base/openapi.json"
answers 200
says '"openapi": "3.1'
call "GET /docs" "$base/docs"
answers 200
says '<!doctype html>'

echo
echo "All answers were as expected."
