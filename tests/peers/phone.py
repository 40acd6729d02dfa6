"""One phone on the PJSIP stack, steered by lines on standard input.

Takes:  call URI | message URI TEXT | hang up | quit
Says:   registered | register failed CODE | ringing | answered | heard | ended CODE | got TEXT | sent CODE
        ("heard" once two seconds of the peer's audio have arrived)
"""

import argparse
import os
import select
import sys

import pjsua2 as pj

TRANSPORTS = {
    "udp": pj.PJSIP_TRANSPORT_UDP,
    "tcp": pj.PJSIP_TRANSPORT_TCP,
    "tls": pj.PJSIP_TRANSPORT_TLS,
}
# Two seconds of 20 ms packets.
ENOUGH_PACKETS = 100


def say(*words):
    print(*words, flush=True)


class Call(pj.Call):
    """A call that plays one file and records another."""

    def __init__(self, phone, call_id=pj.PJSUA_INVALID_ID):
        super().__init__(phone, call_id)
        self.phone = phone
        self.player = self.recorder = None
        self.is_answered = self.is_heard = False

    def onCallState(self, _):
        info = self.getInfo()
        if info.state == pj.PJSIP_INV_STATE_EARLY:
            say("ringing")
        elif info.state == pj.PJSIP_INV_STATE_CONFIRMED:
            self.is_answered = True
            say("answered")
        elif info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            # Closes the files, so that the recording is complete when the line is read.
            self.player = self.recorder = None
            self.phone.call = None
            say("ended", info.lastStatusCode)

    def onCallMediaState(self, _):
        try:
            self.start_audio()
        except Exception as why:  # the library swallows what a callback raises
            say("audio failed", repr(why))

    def start_audio(self):
        # Kept by name: what the list holds is freed together with it.
        info = self.getInfo()
        for index, media in enumerate(info.media):
            is_audio = media.type == pj.PJMEDIA_TYPE_AUDIO
            if is_audio and media.status == pj.PJSUA_CALL_MEDIA_ACTIVE and self.player is None:
                audio = self.getAudioMedia(index)
                self.player = pj.AudioMediaPlayer()
                self.player.createPlayer(self.phone.options.play)
                self.player.startTransmit(audio)
                self.recorder = pj.AudioMediaRecorder()
                self.recorder.createRecorder(self.phone.options.record)
                audio.startTransmit(self.recorder)

    def listen(self):
        """Says once that enough audio has come."""
        if self.is_answered and not self.is_heard:
            statistics = self.getStreamStat(0)
            if statistics.rtcp.rxStat.pkt >= ENOUGH_PACKETS:
                self.is_heard = True
                say("heard")


class Phone(pj.Account):
    """A registered account with at most one call."""

    def __init__(self, options):
        super().__init__()
        self.options = options
        self.call = None
        self.im_buddy = None

    def onRegState(self, event):
        if event.code == 200:
            say("registered")
        else:
            say("register failed", event.code)

    def onIncomingCall(self, event):
        self.call = Call(self, event.callId)
        answer = pj.CallOpParam()
        answer.statusCode = 200
        self.call.answer(answer)

    def onInstantMessage(self, event):
        say("got", event.msgBody)

    def onInstantMessageStatus(self, event):
        say("sent", event.code)

    def obey(self, line):
        """Carries one command out; false when it is the last."""
        word, _, rest = line.strip().partition(" ")
        if word == "call":
            self.call = Call(self)
            self.call.makeCall(rest, pj.CallOpParam(True))
        elif word == "message":
            uri, _, text = rest.partition(" ")
            buddy = pj.BuddyConfig()
            buddy.uri = uri
            self.im_buddy = pj.Buddy()
            self.im_buddy.create(self, buddy)
            message = pj.SendInstantMessageParam()
            message.content = text
            self.im_buddy.sendInstantMessage(message)
        elif word == "hang":
            self.call.hangup(pj.CallOpParam())
        return word not in ("quit", "")


def start_endpoint(options):
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.logConfig.level = config.logConfig.consoleLevel = options.verbosity
    # Callbacks run in this thread, inside libHandleEvents.
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    # The recording is written at the rate of the conference bridge.
    config.medConfig.clockRate = 8000
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.boundAddress = "127.0.0.1"
    transport.port = 0
    if options.transport == "tls":
        transport.tlsConfig.CaListFile = options.trust
        transport.tlsConfig.verifyServer = True
    endpoint.transportCreate(TRANSPORTS[options.transport], transport)
    endpoint.audDevManager().setNullDev()
    endpoint.libStart()
    # G.711 keeps a tone a tone; the library would rather speak Speex.
    endpoint.codecSetPriority("PCMU/8000", 255)
    return endpoint


def register(options):
    server = f"sip:{options.server};transport={options.transport}"
    config = pj.AccountConfig()
    config.idUri = f"sip:{options.user}@{options.domain}"
    config.regConfig.registrarUri = f"sip:{options.domain}"
    config.sipConfig.proxies.append(f"{server};lr")
    config.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", options.user, 0, options.password))
    config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
    config.mediaConfig.transportConfig.port = 0
    phone = Phone(options)
    phone.create(config)
    return phone


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("user", "password", "domain", "server", "transport", "play", "record", "trust"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--verbosity", type=int, default=1)
    options = parser.parse_args()
    endpoint = start_endpoint(options)
    phone = register(options)
    is_wanted = True
    while is_wanted:
        endpoint.libHandleEvents(20)
        if phone.call:
            phone.call.listen()
        while is_wanted and select.select([sys.stdin], [], [], 0)[0]:
            is_wanted = phone.obey(sys.stdin.readline())
    # The library's own shutdown waits for transactions that no test looks at.
    os._exit(0)


main()
