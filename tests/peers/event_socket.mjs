// Listens to events over WebSocket and prints each. URL
import WebSocket from "ws";

const socket = new WebSocket(process.argv[2]);
socket.on("open", () => console.log("open"));
socket.on("message", (data) => console.log(data.toString()));
socket.on("unexpected-response", (_, response) => console.log("refused", response.statusCode));
socket.on("close", () => process.exit(0));
socket.on("error", (error) => console.log("error", error.message));
