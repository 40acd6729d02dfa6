//! TLS with certificates made for each test.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::*;
use crate::tls::{CertificateFiles, ClientCertificates, TlsClient, TlsClientSettings, TlsServer, TlsServerSettings};

/// An authority and a folder with what it signed.
pub(super) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Authority {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("net-tls-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        Authority { folder, issuer }
    }

    pub(super) fn roots(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Writes a certificate for `names` under `file`, over what was there.
    pub(super) fn issue(&self, file: &str, names: &[&str]) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = CertificateFiles {
            chain: self.folder.join(format!("{file}.crt")),
            key: self.folder.join(format!("{file}.key")),
            names: Vec::new(),
        };
        std::fs::write(&files.chain, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn server(&self, files: &[CertificateFiles], clients: ClientCertificates) -> Arc<TlsServer> {
        let settings = TlsServerSettings { certificates: files.to_vec(), client_certificates: clients };
        Arc::new(TlsServer::new(settings).unwrap())
    }

    fn caller(&self, certificate: Option<CertificateFiles>) -> Node {
        let client = TlsClient::new(TlsClientSettings { roots: Some(self.roots()), verify: true, certificate });
        Node::new(StreamSettings { tls_client: Some(Arc::new(client.unwrap())), ..StreamSettings::default() })
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn listen(node: &Node, server: &Arc<TlsServer>) -> SocketAddr {
    let any = "127.0.0.1:0".parse().unwrap();
    let server = Some(Arc::clone(server));
    node.streams.listen(Protocol::Tls, any, server).unwrap()
}

fn named(peer: SocketAddr, name: &'static str) -> Destination<'static> {
    Destination { server_name: Some(name), ..to_peer(peer, Protocol::Tls, 1) }
}

#[tokio::test]
async fn each_name_gets_its_certificate_and_its_own_connection() {
    let authority = Authority::new();
    let certificates = [authority.issue("a", &["a.example"]), authority.issue("b", &["*.b.example"])];
    let server = authority.server(&certificates, ClientCertificates::Ignored);
    let (caller, mut callee) = (authority.caller(None), Node::new(StreamSettings::default()));
    let peer = listen(&callee, &server);
    for name in ["a.example", "sip.b.example", "A.example"] {
        caller.send(named(peer, name), "hello\n").unwrap();
        assert_eq!(callee.message().await.1, "hello\n", "{name}");
    }
    assert_eq!(caller.streams.counts().connected, 2);
}

async fn check_refused(caller: &mut Node, to: Destination<'_>) {
    caller.send(to, "secret\n").unwrap();
    match caller.told().await {
        Told::SendFailed(1, _) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(caller.streams.counts().open, 0);
}

#[tokio::test]
async fn a_server_that_cannot_prove_the_name_gets_nothing() {
    let authority = Authority::new();
    let certificates = [authority.issue("a", &["a.example"])];
    let server = authority.server(&certificates, ClientCertificates::Ignored);
    let (mut caller, callee) = (authority.caller(None), Node::new(StreamSettings::default()));
    let peer = listen(&callee, &server);
    check_refused(&mut caller, named(peer, "evil.example")).await;
    let mut stranger = Authority::new().caller_trusting_another();
    check_refused(&mut stranger, named(peer, "a.example")).await;
}

impl Authority {
    fn caller_trusting_another(self) -> Node {
        self.caller(None)
    }
}

#[tokio::test]
async fn a_client_certificate_tells_who_the_peer_is() {
    let authority = Authority::new();
    let certificates = [authority.issue("a", &["a.example"])];
    let demand = ClientCertificates::Required(authority.roots());
    let server = authority.server(&certificates, demand);
    let own = authority.issue("client", &["client.example"]);
    let (caller, mut callee) = (authority.caller(Some(own)), Node::new(StreamSettings::default()));
    let peer = listen(&callee, &server);
    caller.send(named(peer, "a.example"), "hello\n").unwrap();
    let (connection, _) = callee.message().await;
    assert_eq!(connection.identities, [Box::from("client.example")]);
}

#[tokio::test]
async fn a_client_without_the_required_certificate_is_refused() {
    let authority = Authority::new();
    let certificates = [authority.issue("a", &["a.example"])];
    let demand = ClientCertificates::Required(authority.roots());
    let server = authority.server(&certificates, demand);
    let (caller, mut callee) = (authority.caller(None), Node::new(StreamSettings::default()));
    let peer = listen(&callee, &server);
    caller.send(named(peer, "a.example"), "hello\n").unwrap();
    while callee.streams.counts().failed_handshakes == 0 {
        tokio::task::yield_now().await;
    }
    assert!(callee.told.try_recv().is_err());
}

#[tokio::test]
async fn a_reload_serves_new_connections_and_keeps_open_ones() {
    let authority = Authority::new();
    let certificates = [authority.issue("server", &["old.example"])];
    let server = authority.server(&certificates, ClientCertificates::Ignored);
    let (caller, mut callee) = (authority.caller(None), Node::new(StreamSettings::default()));
    let peer = listen(&callee, &server);
    caller.send(named(peer, "old.example"), "one\n").unwrap();
    let (before, _) = callee.message().await;
    authority.issue("server", &["new.example"]);
    server.reload().unwrap();
    caller.send(named(peer, "new.example"), "two\n").unwrap();
    let (after, _) = callee.message().await;
    assert_ne!(before.id, after.id);
    caller.send(named(peer, "old.example"), "three\n").unwrap();
    assert_eq!(callee.message().await.0.id, before.id);
}

#[tokio::test]
async fn a_failed_reload_changes_nothing() {
    let authority = Authority::new();
    let files = authority.issue("server", &["a.example"]);
    let server = authority.server(std::slice::from_ref(&files), ClientCertificates::Ignored);
    std::fs::write(&files.chain, "no certificate").unwrap();
    let error = server.reload().unwrap_err().to_string();
    assert!(error.contains("server.crt"), "{error}");
    let (caller, mut callee) = (authority.caller(None), Node::new(StreamSettings::default()));
    let peer = listen(&callee, &server);
    caller.send(named(peer, "a.example"), "still\n").unwrap();
    assert_eq!(callee.message().await.1, "still\n");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_is_cut_off() {
    let authority = Authority::new();
    let certificates = [authority.issue("a", &["a.example"])];
    let server = authority.server(&certificates, ClientCertificates::Ignored);
    let callee = Node::new(StreamSettings::default());
    let stalled = client(listen(&callee, &server));
    write(&stalled, &[0x16, 0x03]);
    let start = tokio::time::Instant::now();
    callee.released().await;
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(callee.streams.counts().failed_handshakes, 1);
    assert_eq!(callee.streams.counts().open, 0);
}
