// A WebSocket phone on JsSIP. Says: registered | register failed | ringing | answered |
// ended | got TEXT | sent CODE
import { obey, options, say, SESSION_DESCRIPTION } from "./web_phone_parts.mjs";

/** As much of the browser's peer connection as JsSIP's signalling touches. */
class SignallingOnlyConnection extends EventTarget {
  signalingState = "stable";
  iceConnectionState = "new";
  iceGatheringState = "complete";
  localDescription = null;
  async createOffer() {
    return { type: "offer", sdp: SESSION_DESCRIPTION };
  }
  async createAnswer() {
    return { type: "answer", sdp: SESSION_DESCRIPTION };
  }
  async setLocalDescription(description) {
    this.localDescription = description;
  }
  async setRemoteDescription(description) {
    if (!description.sdp.startsWith("v=0")) throw new Error("no session description");
  }
  getSenders() {
    return [];
  }
  getLocalStreams() {
    return [];
  }
  close() {
    this.signalingState = "closed";
  }
}

globalThis.RTCPeerConnection = SignallingOnlyConnection;
globalThis.RTCSessionDescription = class {
  constructor(description) {
    Object.assign(this, description);
  }
};

const { default: JsSIP } = await import("jssip");
const { user, password, domain, server } = options();
const NO_MEDIA = { mediaConstraints: { audio: false, video: false } };

let session = null;

const agent = new JsSIP.UA({
  sockets: [new JsSIP.WebSocketInterface(server)],
  uri: `sip:${user}@${domain}`,
  authorization_user: user,
  password,
  session_timers: false,
});
agent.on("registered", () => say("registered"));
agent.on("registrationFailed", ({ cause }) => say("register failed", cause));
agent.on("newMessage", ({ originator, message, request }) => {
  if (originator !== "remote") return;
  say("got", request.body);
  message.accept();
});
agent.on("newRTCSession", (event) => {
  session = event.session;
  session.on("progress", ({ originator }) => originator === "remote" && say("ringing"));
  session.on("confirmed", () => say("answered"));
  session.on("ended", () => say("ended"));
  session.on("failed", ({ cause }) => say("failed", cause));
  if (event.originator === "remote") session.answer(NO_MEDIA);
});
agent.start();

obey({
  call(uri) {
    agent.call(uri, NO_MEDIA);
  },
  message(uri, text) {
    agent.sendMessage(uri, text, {
      eventHandlers: {
        succeeded: ({ response }) => say("sent", response.status_code),
        failed: ({ response, cause }) => say("sent", response ? response.status_code : cause),
      },
    });
  },
  hangUp() {
    session.terminate();
  },
});
