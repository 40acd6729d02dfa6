//! Plain streams: reuse, limits, time-outs, back-pressure.

use super::*;

#[tokio::test]
async fn a_reply_leaves_on_the_connection_that_the_message_came_on() {
    let mut node = Node::new(StreamSettings::default());
    let client = client(node.listen(Protocol::Tcp));
    write(&client, b"hello\n");
    let (connection, message) = node.message().await;
    assert_eq!(message, "hello\n");
    assert_eq!(connection.peer, client.local_addr().unwrap());
    node.send(back(&connection), "welcome\n").unwrap();
    assert_eq!(read(&client, 8).await, b"welcome\n");
}

async fn check_reuse(address: &str) {
    let (caller, mut callee) = (Node::new(StreamSettings::default()), Node::new(StreamSettings::default()));
    let address = address.parse().unwrap();
    let peer = callee.streams.listen(Protocol::Tcp, address, None).unwrap();
    for message in ["one\n", "two\n"] {
        caller.send(to_peer(peer, Protocol::Tcp, 1), message).unwrap();
    }
    let (first, one) = callee.message().await;
    let (second, two) = callee.message().await;
    assert_eq!((&one[..], &two[..]), (&b"one\n"[..], &b"two\n"[..]));
    assert_eq!(first.id, second.id);
    assert_eq!(caller.streams.counts().connected, 1);
}

#[tokio::test]
async fn one_connection_is_opened_on_demand_and_reused_over_ipv4() {
    check_reuse("127.0.0.1:0").await;
}

#[tokio::test]
async fn one_connection_is_opened_on_demand_and_reused_over_ipv6() {
    check_reuse("[::1]:0").await;
}

#[tokio::test]
async fn an_alias_reuses_the_connection_of_the_peer() {
    let mut node = Node::new(StreamSettings::default());
    let client = client(node.listen(Protocol::Tcp));
    write(&client, b"hello\n");
    let (connection, _) = node.message().await;
    let alias = "127.0.0.1:5060".parse().unwrap();
    assert!(node.streams.alias(connection.id, alias));
    let to = Destination { may_connect: false, ..to_peer(alias, Protocol::Tcp, 1) };
    node.send(to, "by alias\n").unwrap();
    assert_eq!(read(&client, 9).await, b"by alias\n");
}

#[tokio::test]
async fn a_ping_is_answered_with_one_crlf() {
    let node = Node::new(StreamSettings::default());
    let client = client(node.listen(Protocol::Tcp));
    write(&client, b"\r\n\r\n");
    assert_eq!(read(&client, 2).await, b"\r\n");
}

#[tokio::test]
async fn a_refused_connect_is_told_for_each_message() {
    let mut node = Node::new(StreamSettings::default());
    // Bound and not listening: nobody else can take the port meanwhile.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let peer = socket.local_addr().unwrap();
    for token in [7, 8] {
        node.send(to_peer(peer, Protocol::Tcp, token), "x\n").unwrap();
    }
    for expected in [7, 8] {
        match node.told().await {
            Told::SendFailed(token, kind) => {
                assert_eq!((token, kind), (expected, io::ErrorKind::ConnectionRefused));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(node.streams.counts().open, 0);
}

#[tokio::test]
async fn nothing_is_opened_where_that_is_not_wanted_or_not_possible() {
    let node = Node::new(StreamSettings::default());
    let peer: SocketAddr = "127.0.0.1:5060".parse().unwrap();
    let closed = Destination { may_connect: false, ..to_peer(peer, Protocol::Tcp, 1) };
    assert_eq!(node.send(closed, "x\n"), Err(Refused::NoConnection));
    let ws = to_peer(peer, Protocol::Ws, 1);
    assert_eq!(node.send(ws, "x\n"), Err(Refused::NoConnection));
    let tls = to_peer(peer, Protocol::Tls, 1);
    assert_eq!(node.send(tls, "x\n"), Err(Refused::NoTlsClient));
}

/// What a connection that sent `bytes` and then nothing is closed for, on a clock that jumps.
async fn closed_after(bytes: &[u8]) -> (Closed, Duration) {
    let mut node = Node::new(StreamSettings::default());
    let client = client(node.listen(Protocol::Tcp));
    let start = tokio::time::Instant::now();
    write(&client, bytes);
    loop {
        if let Told::Closed(why) = node.told().await {
            return (why, start.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_cut_off() {
    let (why, after) = closed_after(b"").await;
    assert_eq!((why, after.as_secs()), (Closed::Silent, 30));
}

#[tokio::test(start_paused = true)]
async fn keep_alives_alone_do_not_hold_a_new_connection() {
    let (why, after) = closed_after(b"\r\n\r\n").await;
    assert_eq!((why, after.as_secs()), (Closed::Silent, 30));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_end_is_cut_off() {
    let (why, after) = closed_after(b"whole\nhal").await;
    assert_eq!((why, after.as_secs()), (Closed::Slow, 10));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let (why, after) = closed_after(b"whole\n").await;
    assert_eq!((why, after.as_secs()), (Closed::Idle, 120));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_cannot_be_framed_close_the_connection() {
    assert_eq!(closed_after(b"!").await.0, Closed::Malformed);
    assert_eq!(closed_after(&[b'x'; 65_537]).await.0, Closed::TooLong);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_cut_off() {
    let settings = StreamSettings { ping_interval: Some(Duration::from_secs(60)), ..StreamSettings::default() };
    let mut node = Node::new(settings);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = tokio::time::Instant::now();
    let peer = listener.local_addr().unwrap();
    node.send(to_peer(peer, Protocol::Tcp, 1), "x\n").unwrap();
    assert_eq!(node.closed().await, Closed::NoPong);
    assert_eq!(start.elapsed().as_secs(), 70);
    let (mut accepted, mut received) = (listener.accept().unwrap().0, String::new());
    accepted.read_to_string(&mut received).unwrap();
    assert_eq!(received, "x\n\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stops_reading_fills_its_queue_only_and_is_cut_off() {
    let mut node = Node::new(StreamSettings::default());
    let address = node.listen(Protocol::Tcp);
    let (stuck, reader) = (client(address), client(address));
    write(&stuck, b"stuck\n");
    let (stuck_connection, _) = node.message().await;
    write(&reader, b"reader\n");
    let (reader_connection, _) = node.message().await;
    let large = Bytes::from(vec![b'x'; 60_000]);
    let mut accepted = 0;
    // Sending never waits; the yield only lets the connection fill the kernel's buffers.
    while node.streams.send(back(&stuck_connection), large.clone()).is_ok() {
        accepted += 1;
        assert!(accepted < 10_000, "the queue has no bound");
        tokio::task::yield_now().await;
    }
    let full = node.streams.send(back(&stuck_connection), large.clone());
    assert_eq!(full, Err(Refused::QueueFull));
    node.send(back(&reader_connection), "quick\n").unwrap();
    let mut told = Vec::new();
    loop {
        match node.told().await {
            Told::Closed(why) => break assert_eq!(why, Closed::NotReading),
            Told::SendFailed(token, kind) => told.push((token, kind)),
            other => panic!("{other:?}"),
        }
    }
    assert!(told.iter().all(|lost| *lost == (0, io::ErrorKind::TimedOut)));
    assert!(!told.is_empty());
    assert_eq!(read(&reader, 6).await, b"quick\n");
}

#[tokio::test]
async fn a_peer_has_no_more_connections_than_its_limit() {
    let settings = StreamSettings { max_per_peer: 1, ..StreamSettings::default() };
    let mut node = Node::new(settings);
    let address = node.listen(Protocol::Tcp);
    let first = client(address);
    write(&first, b"first\n");
    node.message().await;
    let mut second = client(address);
    let refused = tokio::task::spawn_blocking(move || second.read(&mut [0; 1]));
    assert!(matches!(refused.await.unwrap(), Ok(0) | Err(_)));
    assert_eq!(node.streams.counts().over_limit, 1);
    // Its place is free again once the first is gone.
    drop(first);
    assert_eq!(node.closed().await, Closed::ByPeer);
    while node.streams.counts().open > 0 {
        tokio::task::yield_now().await;
    }
    write(&client(address), b"third\n");
    assert_eq!(node.message().await.1, "third\n");
}

#[tokio::test]
async fn shutdown_writes_what_is_queued_and_accepts_no_more() {
    let mut node = Node::new(StreamSettings::default());
    let address = node.listen(Protocol::Tcp);
    let client = client(address);
    write(&client, b"hello\n");
    let (connection, _) = node.message().await;
    node.send(back(&connection), "last words\n").unwrap();
    assert!(node.streams.shutdown(Duration::from_secs(10)).await);
    assert_eq!(read(&client, 11).await, b"last words\n");
    assert_eq!(node.closed().await, Closed::ByUs);
    let refused = node.send(to_peer(address, Protocol::Tcp, 1), "x\n");
    assert_eq!(refused, Err(Refused::ShuttingDown));
}

#[tokio::test]
async fn a_port_in_use_is_an_error_at_once() {
    let node = Node::new(StreamSettings::default());
    let address = node.listen(Protocol::Tcp);
    let error = node.streams.listen(Protocol::Tcp, address, None).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

// RFC 9112 section 9.3.2: answers come in the order of their requests.
#[tokio::test]
async fn a_request_waits_until_the_one_before_it_is_answered() {
    let mut node = Node::new(StreamSettings::default());
    let client = client(node.listen(Protocol::Tcp));
    write(&client, b"?one\n?two\n");
    let (connection, one) = node.request().await;
    assert_eq!(one, "?one\n");
    assert!(node.told.try_recv().is_err());
    node.streams.answer(connection, Bytes::from_static(b"1\n"), false);
    let (_, two) = node.request().await;
    assert_eq!(two, "?two\n");
    node.streams.answer(connection, Bytes::from_static(b"2\n"), false);
    assert_eq!(read(&client, 4).await, b"1\n2\n");
}

// RFC 9112 section 9.6.
#[tokio::test]
async fn nothing_is_read_behind_a_request_whose_answer_closes() {
    for (first, answer) in [(&b"?one\n?two\n"[..], Some("1\n")), (b"?refuse\n?two\n", None)] {
        let mut node = Node::new(StreamSettings::default());
        let client = client(node.listen(Protocol::Tcp));
        write(&client, first);
        if let Some(answer) = answer {
            let (connection, _) = node.request().await;
            node.streams.answer(connection, Bytes::from_static(answer.as_bytes()), true);
        }
        assert_eq!(node.closed().await, Closed::ByUs);
        let expected = answer.unwrap_or("refused\n");
        assert_eq!(read(&client, expected.len()).await, expected.as_bytes());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_answers_ends_with_the_idle_time() {
    let mut node = Node::new(StreamSettings::default());
    let client = client(node.listen(Protocol::Tcp));
    write(&client, b"?one\n");
    node.request().await;
    assert_eq!(node.closed().await, Closed::Idle);
}

#[tokio::test]
async fn what_is_bound_to_a_connection_takes_no_other() {
    let mut node = Node::new(StreamSettings::default());
    let address = node.listen(Protocol::Tcp);
    let client = client(address);
    write(&client, b"x\n");
    let (connection, _) = node.message().await;
    let bound = Destination { is_bound: true, ..back(&connection) };
    node.send(bound, "by flow\n").unwrap();
    assert_eq!(read(&client, 8).await, b"by flow\n");
    // The number of a connection that is gone, and one that leads to somebody else now.
    let unknown = Destination { connection: Some(ConnectionId(u64::MAX)), ..bound };
    assert_eq!(node.send(unknown, "x\n"), Err(Refused::NoConnection));
    let elsewhere = Destination { peer: "127.0.0.1:9".parse().unwrap(), ..bound };
    assert_eq!(node.send(elsewhere, "x\n"), Err(Refused::NoConnection));
}
