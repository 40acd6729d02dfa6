// A WebSocket phone on SIP.js. Says: registered | register failed | ringing | answered |
// ended | got TEXT | sent CODE
import { Inviter, Messager, Registerer, RegistererState, SessionState, UserAgent } from "sip.js";
import { obey, options, say, SESSION_DESCRIPTION } from "./web_phone_parts.mjs";

const { user, password, domain, server } = options();

class FixedDescription {
  close() {}
  hasDescription(type) {
    return type === "application/sdp";
  }
  async getDescription() {
    return { body: SESSION_DESCRIPTION, contentType: "application/sdp" };
  }
  async setDescription(description) {
    if (!description.startsWith("v=0")) throw new Error("no session description");
  }
  sendDtmf() {
    return false;
  }
}

let session = null;

function follow(next) {
  session = next;
  session.stateChange.addListener((state) => {
    if (state === SessionState.Established) say("answered");
    if (state === SessionState.Terminated) say("ended");
  });
}

const agent = new UserAgent({
  uri: UserAgent.makeURI(`sip:${user}@${domain}`),
  authorizationUsername: user,
  authorizationPassword: password,
  transportOptions: { server },
  sessionDescriptionHandlerFactory: () => new FixedDescription(),
  logLevel: "warn",
  delegate: {
    onInvite(invitation) {
      follow(invitation);
      invitation.accept();
    },
    onMessage(message) {
      say("got", message.request.body);
      message.accept();
    },
  },
});

await agent.start();
const registerer = new Registerer(agent);
registerer.stateChange.addListener((state) => {
  if (state === RegistererState.Registered) say("registered");
});
await registerer.register({ requestDelegate: { onReject: () => say("register failed") } });

obey({
  call(uri) {
    follow(new Inviter(agent, UserAgent.makeURI(uri)));
    session.invite({
      requestDelegate: {
        onProgress: (response) => say(response.message.statusCode === 180 ? "ringing" : "progress"),
        onReject: (response) => say("rejected", response.message.statusCode),
      },
    });
  },
  message(uri, text) {
    new Messager(agent, UserAgent.makeURI(uri), text).message({
      requestDelegate: {
        onAccept: (response) => say("sent", response.message.statusCode),
        onReject: (response) => say("sent", response.message.statusCode),
      },
    });
  },
  hangUp() {
    session.bye();
  },
});
