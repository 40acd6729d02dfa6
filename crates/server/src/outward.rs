//! What the server sends to others by itself: webhooks and spans.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ::control::Say;
use ::control::events::{Bus, Filter, Webhook, WebhookSettings};
use ::control::http_client::{Connect, Connecting, Link, Url, WebClient};
use ::control::spans::SpanExporter;
use anyhow::{Context, Result, bail};
use module_api::Statistics;
use net::tls::{TlsClient, TlsClientSettings};
use tokio::net::TcpStream;

use crate::arguments::Arguments;

/// What is sent until this is dropped.
pub(crate) struct Outward {
    _webhooks: Vec<Webhook>,
    _spans: Option<SpanExporter>,
}

/// Starts what the command line asks for. To be called within the runtime, before privileges are dropped.
///
/// # Errors
/// When a file cannot be read or a trust store is unusable.
pub(crate) fn start(arguments: &Arguments, bus: &Bus, statistics: &Statistics, log: &Arc<Say>) -> Result<Outward> {
    let secret = arguments.webhook_secret_file.as_deref().map(secret).transpose()?;
    let filter = Filter::parse(&arguments.webhook_events.as_ref().map_or(String::new(), |all| all.0.clone()))?;
    let is_secure = arguments.webhook.iter().chain(&arguments.otlp).any(|url| url.is_secure);
    let connect = connect(arguments, is_secure)?;
    let mut webhooks = Vec::new();
    for url in &arguments.webhook {
        let settings = WebhookSettings { url: url.clone(), filter: filter.clone(), secret: secret.clone() };
        let webhook = Webhook::start(bus, settings, Arc::clone(&connect), statistics, Arc::clone(log));
        webhooks.push(webhook.context("too many webhooks")?);
    }
    let spans = arguments.otlp.as_ref().map(|url| {
        let exporter = SpanExporter::start(bus, url.clone(), connect, statistics, Arc::clone(log));
        exporter.context("too many webhooks")
    });
    Ok(Outward { _webhooks: webhooks, _spans: spans.transpose()? })
}

/// The web for functions of scripts.
///
/// # Errors
/// When the trust store that the command line names is unusable.
pub(crate) fn web(arguments: &Arguments) -> Result<WebClient> {
    // Where this machine has no trusted certificates, http alone is spoken; https then says so.
    let secure = connect(arguments, true);
    let connect = if arguments.tls_ca.is_some() { secure? } else { secure.or_else(|_| connect(arguments, false))? };
    Ok(WebClient(connect))
}

fn secret(path: &Path) -> Result<Arc<[u8]>> {
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read the secret of webhooks {}", path.display()))?;
    if text.trim().len() < 16 {
        bail!("the secret of webhooks is shorter than 16 characters and could be guessed");
    }
    Ok(text.trim().as_bytes().into())
}

/// How connections to web servers are opened.
fn connect(arguments: &Arguments, is_secure: bool) -> Result<Connect> {
    let settings = TlsClientSettings {
        roots: arguments.tls_ca.clone(),
        verify: !arguments.tls_no_verify,
        ..TlsClientSettings::default()
    };
    // Trusted certificates are read only where they are needed: there may be none on this machine.
    let tls = is_secure.then(|| TlsClient::new(settings).context("TLS of webhooks")).transpose()?.map(Arc::new);
    Ok(Arc::new(move |url: Url| -> Connecting {
        let tls = tls.clone();
        Box::pin(async move {
            let stream = TcpStream::connect((&*url.host, url.port)).await?;
            if !url.is_secure {
                return Ok(Box::new(stream) as Box<dyn Link>);
            }
            let Some(tls) = tls else {
                return Err(std::io::Error::other("there are no trusted certificates on this machine"));
            };
            let address = stream.peer_addr()?.ip();
            let name = Some(&*url.host).filter(|host| host.parse::<IpAddr>().is_err());
            Ok(Box::new(tls.connect(stream, name, address).await?) as Box<dyn Link>)
        })
    }))
}
