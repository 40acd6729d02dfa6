//! JSON-RPC over a FIFO, as Kamailio's jsonrpcs has it: the reply goes to the FIFO named by `reply_name`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use module_api::Level;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::fifo::{FifoSettings, REPLIES, open_pipe};
use crate::ground::{FrontEnd, Ground};
use crate::json_rpc::{self, Documents, Taken};
use crate::path::OpenError;
use crate::reply_pipe;

/// Serves a FIFO.
///
/// # Errors
/// When it cannot be made.
pub fn open(ground: &Ground, settings: &FifoSettings, is_pretty: bool) -> Result<FrontEnd, OpenError> {
    let (pipe, file) = open_pipe(ground, settings)?;
    let serve = serve(ground.clone(), pipe, settings.reply_dir.clone(), is_pretty);
    Ok(FrontEnd::start(ground, Some(file), serve))
}

const REPLY_PATIENCE: Duration = Duration::from_secs(2);

async fn serve(ground: Ground, mut pipe: Receiver, reply_dir: PathBuf, is_pretty: bool) {
    let mut documents = Documents::new(ground.limits.request);
    let places = Arc::new(Semaphore::new(REPLIES));
    let mut chunk = vec![0; 4096];
    let mut deadline = Instant::now() + ground.limits.patience;
    loop {
        if documents.is_empty() {
            deadline = Instant::now() + ground.limits.patience;
        }
        match timeout_at(deadline, pipe.read(&mut chunk)).await {
            Ok(Ok(length)) if length > 0 => documents.push(&chunk[..length]),
            Ok(Ok(_) | Err(_)) => {
                return (ground.log)(Level::Error, "the JSON-RPC FIFO is gone; no more commands from it");
            }
            Err(_) => documents.clear(),
        }
        loop {
            let document = match documents.take() {
                Taken::More => break,
                Taken::Document(document) => document,
                Taken::Wrong(what) => {
                    (ground.log)(Level::Warning, &format!("JSON-RPC FIFO: {what}; it is dropped"));
                    documents.clear();
                    break;
                }
            };
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let (ground, reply_dir) = (ground.clone(), reply_dir.clone());
            tokio::spawn(async move {
                execute(&ground, &reply_dir, &document, is_pretty).await;
                drop(place);
            });
        }
    }
}

async fn execute(ground: &Ground, reply_dir: &Path, document: &Value, is_pretty: bool) {
    let answer = json_rpc::answer_value(&ground.commands, document, is_pretty).await;
    let name = document.get("reply_name").and_then(Value::as_str);
    let (Some(answer), Some(name)) = (answer, name) else { return };
    let written = match reply_pipe::place(reply_dir, name) {
        Ok(path) => {
            reply_pipe::write(&path, &[&answer[..], b"\n"].concat(), REPLY_PATIENCE).await.map_err(|e| e.to_string())
        }
        Err(complaint) => Err(complaint),
    };
    if let Err(cause) = written {
        (ground.log)(Level::Notice, &format!("JSON-RPC FIFO: a reply is lost: {cause}"));
    }
}
