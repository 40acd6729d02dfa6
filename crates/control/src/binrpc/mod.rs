//! binrpc, the protocol of Kamailio's module ctl, over a Unix stream socket: what `kamcmd` speaks.

mod packet;

use std::path::Path;
use std::sync::Arc;

use module_api::CommandError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::ground::{FrontEnd, Ground};
use crate::path::{self, Access, OpenError};
use packet::{Request, Taken, take};

/// Serves `kamcmd` at a Unix stream socket.
///
/// # Errors
/// When it cannot be made.
pub fn open(ground: &Ground, path: &Path, access: &Access) -> Result<FrontEnd, OpenError> {
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
        // Closed at once beyond the bound: the protocol has no answer without a question.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let ground = ground.clone();
        tokio::spawn(async move {
            serve(&ground, stream).await;
            drop(place);
        });
    }
}

async fn serve(ground: &Ground, mut stream: UnixStream) {
    let mut buffer = Vec::new();
    let mut chunk = vec![0; 4096];
    let mut deadline = Instant::now() + ground.limits.patience;
    loop {
        let answer = match take(&mut buffer, ground.limits.request) {
            Taken::Request(Request { cookie, name, args }) => {
                packet::answer(&cookie, &ground.commands.call(&name, args).await)
            }
            Taken::Wrong(cookie, what) => packet::answer(&cookie, &Err(CommandError::new(400, what))),
            // Nothing that follows can be understood.
            Taken::Broken => return,
            Taken::More => {
                // An operator may type into `kamcmd` for as long as the request is not begun.
                let until = if buffer.is_empty() { Instant::now() + IDLE } else { deadline };
                match timeout_at(until, stream.read(&mut chunk)).await {
                    Ok(Ok(length)) if length > 0 => {
                        // Its time begins with its first byte, and more bytes do not make it longer.
                        if buffer.is_empty() {
                            deadline = Instant::now() + ground.limits.patience;
                        }
                        buffer.extend_from_slice(&chunk[..length]);
                    }
                    _ => return,
                }
                continue;
            }
        };
        if !matches!(timeout(ground.limits.patience, stream.write_all(&answer)).await, Ok(Ok(()))) {
            return;
        }
        deadline = Instant::now() + ground.limits.patience;
    }
}

/// How long a client may keep its connection without asking.
const IDLE: std::time::Duration = std::time::Duration::from_secs(600);
