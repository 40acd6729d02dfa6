// Calls a command over HTTP as a batch with a notification, then over the control socket. URL SOCKET COMMAND [ARGUMENT...]
// Prints one line for each: the result, or `error CODE MESSAGE`.
import net from "node:net";

const [url, socket, method, ...params] = process.argv.slice(2);
const request = { jsonrpc: "2.0", method, params, id: "node" };

function show(answer) {
    if (answer.jsonrpc !== "2.0" || answer.id !== "node") throw new Error(JSON.stringify(answer));
    console.log(answer.error ? `error ${answer.error.code} ${answer.error.message}` : JSON.stringify(answer.result));
}

const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify([request, { jsonrpc: "2.0", method: "core.echo" }]),
});
const batch = await response.json();
if (batch.length !== 1) throw new Error(JSON.stringify(batch));
show(batch[0]);

const stream = net.connect(socket);
let text = "";
stream.on("data", (chunk) => {
    text += chunk;
    if (text.endsWith("\n")) {
        show(JSON.parse(text));
        stream.end();
    }
});
stream.write(JSON.stringify(request));
