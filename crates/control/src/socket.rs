//! JSON-RPC over Unix sockets: documents one after the other on a stream, or one in a datagram.

use std::path::Path;
use std::sync::Arc;

use module_api::Level;
use nix::errno::Errno;
use nix::sys::socket::SockType;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixDatagram, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::ground::{FrontEnd, Ground};
use crate::json_rpc::{self, Documents, Taken};
use crate::path::{self, Access, OpenError};

/// Serves a stream socket: `serctl` and programs that ask more than once use it.
///
/// # Errors
/// When it cannot be made.
pub fn open_stream(ground: &Ground, path: &Path, access: &Access) -> Result<FrontEnd, OpenError> {
    let _inside = ground.runtime.enter();
    let (listener, file) = path::listen(path, access)?;
    Ok(FrontEnd::start(ground, Some(file), accept(ground.clone(), listener)))
}

async fn accept(ground: Ground, listener: UnixListener) {
    let places = Arc::new(Semaphore::new(ground.limits.clients));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No file left to open. The clients that have one give it back.
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            let text = format!("too many clients (at most {}); try again", ground.limits.clients);
            // What a fresh socket's buffer does not take, the client does not get.
            let _ = stream.try_write(&[&json_rpc::refusal(503, &text)[..], b"\n"].concat());
            continue;
        };
        let ground = ground.clone();
        tokio::spawn(async move {
            serve(&ground, stream).await;
            drop(place);
        });
    }
}

async fn serve(ground: &Ground, mut stream: UnixStream) {
    let patience = ground.limits.patience;
    let mut documents = Documents::new(ground.limits.request);
    let mut chunk = vec![0; 4096];
    let mut deadline = Instant::now() + patience;
    loop {
        let (answer, is_last) = match documents.take() {
            Taken::Document(document) => (json_rpc::answer_value(&ground.commands, &document, false).await, false),
            Taken::Wrong(what) => (Some(json_rpc::refusal(-32700, &what)), true),
            Taken::More => match timeout_at(deadline, stream.read(&mut chunk)).await {
                Ok(Ok(length)) if length > 0 => {
                    // Its time begins with its first byte, and more bytes do not make it longer.
                    if documents.is_empty() {
                        deadline = Instant::now() + patience;
                    }
                    documents.push(&chunk[..length]);
                    continue;
                }
                Ok(Ok(_)) if !documents.is_empty() => {
                    (Some(json_rpc::refusal(-32700, "the request ends in the middle")), true)
                }
                // A client that waits between requests loses its connection and opens another.
                Err(_) if !documents.is_empty() => {
                    (Some(json_rpc::refusal(408, "the request did not end in time")), true)
                }
                _ => return,
            },
        };
        let Some(mut answer) = answer else {
            deadline = Instant::now() + patience;
            continue;
        };
        answer.push(b'\n');
        if !matches!(timeout(patience, stream.write_all(&answer)).await, Ok(Ok(()))) || is_last {
            return;
        }
        deadline = Instant::now() + patience;
    }
}

/// Serves a datagram socket, as Kamailio's jsonrpcs has it: the reply goes to the address that the client has bound.
///
/// # Errors
/// When it cannot be made.
pub fn open_datagram(ground: &Ground, path: &Path, access: &Access, is_pretty: bool) -> Result<FrontEnd, OpenError> {
    let _inside = ground.runtime.enter();
    let (socket, file) = path::make_socket(path, access, SockType::Datagram)?;
    let socket = UnixDatagram::from_std(socket.into()).map_err(|error| OpenError::new(path.display(), error))?;
    Ok(FrontEnd::start(ground, Some(file), serve_datagrams(ground.clone(), Arc::new(socket), is_pretty)))
}

async fn serve_datagrams(ground: Ground, socket: Arc<UnixDatagram>, is_pretty: bool) {
    let places = Arc::new(Semaphore::new(ground.limits.clients));
    let mut buffer = vec![0; ground.limits.request + 1];
    loop {
        // The socket's buffer holds what comes meanwhile; its writers wait when that is full.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            return (ground.log)(Level::Error, "the JSON-RPC datagram socket is gone; no more commands from it");
        };
        let (ground, socket, document) = (ground.clone(), Arc::clone(&socket), buffer[..length].to_vec());
        tokio::spawn(async move {
            let answer = if document.len() > ground.limits.request {
                let text = format!("a request of more than {} bytes", ground.limits.request);
                Some(json_rpc::refusal(-32600, &text))
            } else {
                json_rpc::answer(&ground.commands, &document, is_pretty).await
            };
            if let (Some(answer), Some(path)) = (answer, from.as_pathname()) {
                // A client that is gone, or does not read, loses its answer and nothing else.
                let sent = timeout(ground.limits.patience, socket.send_to(&answer, path)).await;
                if matches!(&sent, Ok(Err(error)) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32)) {
                    let text = format!("an answer of {} bytes is too long for a datagram; use a stream", answer.len());
                    let refusal = json_rpc::refusal_of(&document, 507, &text);
                    let _ = timeout(ground.limits.patience, socket.send_to(&refusal, path)).await;
                }
            }
            drop(place);
        });
    }
}

#[cfg(test)]
mod tests {
    use module_api::Command;

    use super::*;
    use crate::Limits;
    use crate::dispatch::tests::examples;

    static LONG: &[Command] = &[Command { name: "test.long", run: |_| "x".repeat(16 << 20).into(), ..Command::EMPTY }];

    #[tokio::test]
    async fn an_answer_that_no_datagram_holds_is_refused() {
        let directory = std::env::temp_dir().join(format!("ser-control-datagram-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("the directory of temporary files can be written");
        let (there, here) = (directory.join("server"), directory.join("client"));
        let runtime = tokio::runtime::Handle::current();
        let ground = Ground { commands: examples(), limits: Limits::default(), runtime, log: Arc::new(|_, _| {}) };
        ground.commands.replace(vec![(LONG, Arc::new(()))]);
        let _served = open_datagram(&ground, &there, &Access::default(), false).expect("the place is free");
        let client = UnixDatagram::bind(&here).expect("the place is free");
        let request = r#"{"jsonrpc": "2.0", "method": "test.long", "id": 7}"#;
        client.send_to(request.as_bytes(), &there).await.expect("it is read");
        let mut answer = vec![0; 1000];
        let length = client.recv(&mut answer).await.expect("an answer");
        let answer: serde_json::Value = serde_json::from_slice(&answer[..length]).expect("it is JSON");
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&507.into(), &7.into()));
        let _ = std::fs::remove_dir_all(&directory);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_drip_do_not_make_the_time_of_a_request_longer() {
        let (mut client, server) = UnixStream::pair().expect("there are files to open");
        let runtime = tokio::runtime::Handle::current();
        let ground = Ground { commands: examples(), limits: Limits::default(), runtime, log: Arc::new(|_, _| {}) };
        let patience = ground.limits.patience;
        let served = tokio::spawn(async move { serve(&ground, server).await });
        let begin = Instant::now();
        while !served.is_finished() && begin.elapsed() < 4 * patience {
            let _ = client.write_all(b"[").await;
            tokio::time::sleep(patience / 4).await;
        }
        assert!(served.is_finished(), "it is still read after {:?}", begin.elapsed());
    }
}
