//! WebSocket (RFC 7118) against another implementation's client side.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;

type Phone = WebSocketStream<tokio::net::TcpStream>;

async fn open(address: SocketAddr, protocol: Option<&str>, origin: &str) -> Result<Phone, Error> {
    let mut request = format!("ws://{address}/sip").into_client_request()?;
    let headers = request.headers_mut();
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(protocol)?);
    }
    headers.insert(header::ORIGIN, HeaderValue::from_str(origin)?);
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (phone, response) = client_async(request, stream).await?;
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], "sip");
    Ok(phone)
}

fn check_status(result: Result<Phone, Error>, expected: StatusCode) {
    match result {
        Err(Error::Http(response)) => assert_eq!(response.status(), expected),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn text_and_binary_frames_are_messages_both_ways() {
    let mut node = Node::new(StreamSettings::default());
    let address = node.listen(Protocol::Ws);
    let mut phone = open(address, Some("other, sip"), "http://a.example").await.unwrap();
    phone.send(Message::text("text")).await.unwrap();
    assert_eq!(node.message().await.1, "text");
    phone.send(Message::binary(&b"\xff\xfe"[..])).await.unwrap();
    let (connection, message) = node.message().await;
    assert_eq!(&message[..], b"\xff\xfe");
    node.send(back(&connection), "answer").unwrap();
    assert_eq!(phone.next().await.unwrap().unwrap(), Message::text("answer"));
    let bytes = Bytes::from_static(b"\xff");
    node.streams.send(back(&connection), bytes.clone()).unwrap();
    assert_eq!(phone.next().await.unwrap().unwrap(), Message::Binary(bytes));
}

#[tokio::test]
async fn a_client_that_does_not_offer_sip_gets_400() {
    let node = Node::new(StreamSettings::default());
    let address = node.listen(Protocol::Ws);
    for protocol in [None, Some("sipx, msrp")] {
        let refused = open(address, protocol, "http://a.example").await;
        check_status(refused, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_page_of_another_origin_gets_403() {
    let node = Node::with_origin(StreamSettings::default(), Some("http://a.example"));
    let address = node.listen(Protocol::Ws);
    let refused = open(address, Some("sip"), "http://evil.example").await;
    check_status(refused, StatusCode::FORBIDDEN);
    assert!(open(address, Some("sip"), "http://a.example").await.is_ok());
}

#[tokio::test]
async fn pings_of_both_kinds_are_answered() {
    let node = Node::new(StreamSettings::default());
    let address = node.listen(Protocol::Ws);
    let mut phone = open(address, Some("sip"), "http://a.example").await.unwrap();
    phone.send(Message::Ping(Bytes::from_static(b"?"))).await.unwrap();
    let pong = Message::Pong(Bytes::from_static(b"?"));
    assert_eq!(phone.next().await.unwrap().unwrap(), pong);
    phone.send(Message::text("\r\n\r\n")).await.unwrap();
    assert_eq!(phone.next().await.unwrap().unwrap(), Message::text("\r\n"));
}

#[tokio::test]
async fn a_message_over_the_limit_closes_the_connection() {
    let mut node = Node::new(StreamSettings::default());
    let address = node.listen(Protocol::Ws);
    let mut phone = open(address, Some("sip"), "http://a.example").await.unwrap();
    phone.send(Message::text("x".repeat(65_537))).await.unwrap();
    assert_eq!(node.closed().await, Closed::TooLong);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_comes_is_cut_off() {
    let node = Node::new(StreamSettings::default());
    let _stalled = client(node.listen(Protocol::Ws));
    let start = tokio::time::Instant::now();
    node.released().await;
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(node.streams.counts().failed_handshakes, 1);
}

#[tokio::test]
async fn secure_websockets_run_inside_tls() {
    let authority = super::tls::Authority::new();
    let mut node = Node::new(StreamSettings::default());
    let server = crate::tls::TlsServer::new(crate::tls::TlsServerSettings {
        certificates: vec![authority.issue("ws", &["ws.example"])],
        ..Default::default()
    });
    let any = "127.0.0.1:0".parse().unwrap();
    let server = Some(Arc::new(server.unwrap()));
    let address = node.streams.listen(Protocol::Wss, any, server).unwrap();
    let client = crate::tls::TlsClient::new(crate::tls::TlsClientSettings {
        roots: Some(authority.roots()),
        ..Default::default()
    });
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let client = client.unwrap();
    let stream = client.connect(stream, Some("ws.example"), address.ip()).await.unwrap();
    let mut request = "wss://ws.example/".into_client_request().unwrap();
    let protocol = HeaderValue::from_static("sip");
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    let (mut phone, _) = client_async(request, stream).await.unwrap();
    phone.send(Message::text("inside")).await.unwrap();
    let (connection, message) = node.message().await;
    assert_eq!((connection.protocol, &message[..]), (Protocol::Wss, &b"inside"[..]));
}
