// What both WebSocket phones need in Node.js: a WebSocket, a session description, and a
// test that steers them by lines on standard input.
import readline from "node:readline";
import WebSocket from "ws";

// Both stacks look for the browser's names.
globalThis.WebSocket = WebSocket;
globalThis.window = globalThis;

// The calls here are signalling only: the description is valid, its port takes nothing.
export const SESSION_DESCRIPTION = [
  "v=0",
  "o=- 1 1 IN IP4 127.0.0.1",
  "s=-",
  "c=IN IP4 127.0.0.1",
  "t=0 0",
  "m=audio 9 RTP/AVP 0",
  "a=rtpmap:0 PCMU/8000",
  "a=sendrecv",
  "",
].join("\r\n");

export function say(...words) {
  console.log(words.join(" "));
}

/** `--name value` pairs of the command line, as an object. */
export function options() {
  const words = process.argv.slice(2);
  const found = {};
  for (let i = 0; i + 1 < words.length; i += 2) found[words[i].replace(/^--/, "")] = words[i + 1];
  return found;
}

/**
 * Carries out commands as they come: `call URI`, `message URI TEXT`, `hang up`, `quit`.
 * Ends with standard input, too.
 */
export function obey(phone) {
  const input = readline.createInterface({ input: process.stdin });
  input.on("line", (line) => {
    const [word, ...rest] = line.split(" ");
    if (word === "call") phone.call(rest[0]);
    if (word === "message") phone.message(rest[0], rest.slice(1).join(" "));
    if (word === "hang") phone.hangUp();
    if (word === "quit") process.exit(0);
  });
  input.on("close", () => process.exit(0));
}
