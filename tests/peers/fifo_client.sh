#!/bin/sh
# A client of SER's FIFO as its users wrote them: FIFO DIRECTORY COMMAND [ARGUMENT...]
# The reply comes through a FIFO of its own in DIRECTORY.
fifo=$1 directory=$2 command=$3
shift 3
name=reply_$$
mkfifo "$directory/$name" || exit 2
trap 'rm -f "$directory/$name"' EXIT
request=":$command:$name
"
for argument; do
    request="$request$argument
"
done
# The reader is there before the request is out.
cat <"$directory/$name" &
# One write, so that clients at the same time do not mix their lines.
printf '%s\n' "$request" >"$fifo"
wait
