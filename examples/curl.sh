#!/usr/bin/env bash
# The whole way with curl: request a token, let the person consent, wait, and use the token.
set -euo pipefail
: "${LANGSMITH_API_URL:=http://127.0.0.1:8080}" "${LANGSMITH_API_KEY:?set it to the API key}"

# A field of a JSON object on standard input that is a text; with jq: jq -r ".$1"
field() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }
auth() { curl -sS --fail-with-body -H "x-api-key: $LANGSMITH_API_KEY" "$LANGSMITH_API_URL/v2/auth/$1" "${@:2}"; }

request='{"provider": "sample", "scopes": ["profile.read"], "user_id": "you"}'
answer=$(auth authenticate -H 'content-type: application/json' -d "$request")
while [[ $(field status <<<"$answer") != completed ]]; do
    id=$(field auth_id <<<"$answer")
    echo "Please open $(field url <<<"$answer")"
    answer=$(auth "wait/$id?timeout=25")
    # Also "timeout" after 25 seconds: wait again. "not_found": the consent was denied, or has expired.
    while [[ $(field status <<<"$answer") == timeout ]]; do answer=$(auth "wait/$id?timeout=25"); done
    [[ $(field status <<<"$answer") != not_found ]] || { echo "no consent: $answer" >&2; exit 1; }
done

# The demo's sample provider has its API beside its authorization page.
api=$(auth providers/sample | field auth_url)
curl -sS --fail-with-body -H "authorization: Bearer $(field token <<<"$answer")" "${api%/authorize}/me"
