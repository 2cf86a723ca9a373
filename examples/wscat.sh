#!/usr/bin/env bash
# Runs a shell script as a job, prints its output, and exits as it did; wscat does the talking.
#
#   examples/wscat.sh 'echo hi; exit 3'
#
# GANGLINE_URL names the dispatcher. The token comes from GANGLINE_TOKEN, else from the file that
# GANGLINE_TOKEN_FILE names, else from the data directory of a dispatcher on this machine.
set -euo pipefail

url=${GANGLINE_URL:-ws://127.0.0.1:3000/ws}
data=${GANGLINE_DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/gangline}
token=${GANGLINE_TOKEN:-$(cat "${GANGLINE_TOKEN_FILE:-$data/admin.token}")}
[ $# = 1 ] || { echo "usage: $0 SCRIPT" >&2; exit 2; }

cd "$(dirname "$0")/.."
[ -x node_modules/.bin/wscat ] || make --silent setup >&2

# Node.js is there wherever wscat is, and knows JSON better than a shell does.
submit=$(node -p 'JSON.stringify({type: "job", data: {opt: "submit", command: process.argv[1]}})' "$1")

# wscat goes when its input ends, so the input stays open until the printer has seen the end.
coproc wscat { exec node_modules/.bin/wscat --no-color -c "$url" -H "Authorization: Bearer $token"; }
# shellcheck disable=SC2064
trap "kill $wscat_PID 2>/dev/null || true" EXIT

# Nothing may be typed before the connection stands: hello says that it does.
IFS= read -r hello <&"${wscat[0]}" || { echo "no dispatcher at $url" >&2; exit 125; }
[[ $hello == *'"type":"hello"'* ]] || { echo "$hello" >&2; exit 125; }
printf '%s\n' "$submit" >&"${wscat[1]}"

node -e '
  const lines = require("readline").createInterface({ input: process.stdin });
  lines.on("line", (line) => {
    const start = line.indexOf("{"); // wscat puts its prompt before what it prints
    if (start < 0) return;
    const { type, data } = JSON.parse(line.slice(start));
    if (type === "error") {
      console.error(data.message);
      process.exit(125);
    }
    if (type !== "job") return;
    if (data.opt === "output") {
      const bytes = data.base64 === undefined ? Buffer.from(data.text) : Buffer.from(data.base64, "base64");
      require("fs").writeSync(data.stream === "stderr" ? 2 : 1, bytes);
    }
    if (data.opt === "end") process.exit(data.exitCode ?? 125);
  });
  lines.on("close", () => process.exit(75)); // the connection went; the job may still run
' <&"${wscat[0]}"
