//! Opening the listening sockets, or taking over those that the service manager has kept open.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use anyhow::{Context, Result};
use engine::Identity;
use module_api::{Socket, SocketId};
use net::inherited::Inherited;
use net::stream::{KernelOptions, Streams};
use net::tls::TlsServer;
use net::udp::{UdpOptions, UdpSocket};
use sip_message::Transport;

use crate::notify::Notifier;

/// Sockets on their way from one process to the next: those that this one was given, and those that it keeps.
pub(crate) struct Sockets {
    inherited: Vec<Inherited>,
    kept: Vec<(String, OwnedFd)>,
}

impl Sockets {
    /// Takes what the service manager has kept. To be called before any other file is opened.
    pub(crate) fn from_service_manager() -> Sockets {
        Sockets { inherited: net::inherited::take(), kept: Vec::new() }
    }

    /// For each worker its UDP sockets. A port 0 becomes the one that the kernel gives.
    ///
    /// # Errors
    /// The address that cannot be listened at.
    pub(crate) fn bind_udp(
        &mut self,
        identity: &mut Identity,
        worker_count: usize,
        options: &UdpOptions,
    ) -> Result<Vec<Vec<(SocketId, UdpSocket)>>> {
        let mut of_workers: Vec<Vec<(SocketId, UdpSocket)>> = (0..worker_count).map(|_| Vec::new()).collect();
        for (n, socket) in identity.sockets.iter_mut().enumerate() {
            if socket.transport != Transport::Udp {
                continue;
            }
            let mut first: Option<UdpSocket> = None;
            for (worker, sockets) in of_workers.iter_mut().enumerate() {
                let udp = match (self.take(socket.address, true), &first) {
                    (Some(inherited), _) => UdpSocket::adopt(inherited.socket, options).inspect(|udp| {
                        first = first.take().or_else(|| udp.for_sending().ok());
                    }),
                    // More workers than sockets: the others send by the first, whose group they cannot join.
                    (None, Some(first)) => first.for_sending(),
                    (None, None) => {
                        if worker == 0 {
                            refuse_if_taken(socket, options)?;
                        }
                        UdpSocket::bind(socket.address, options)
                    }
                };
                let udp = udp.with_context(|| cannot_listen(socket))?;
                socket.address = udp.local_address();
                if udp.is_read() {
                    self.keep(socket, worker, udp.as_fd());
                }
                sockets.push((SocketId(n as u16), udp));
            }
        }
        Ok(of_workers)
    }

    /// Listens for connections wherever the server shall.
    ///
    /// # Errors
    /// The address that cannot be listened at.
    pub(crate) fn listen_streams(
        &mut self,
        streams: &Streams,
        kernel: &KernelOptions,
        identity: &Identity,
        tls: Option<&Arc<TlsServer>>,
    ) -> Result<()> {
        for socket in &identity.sockets {
            let protocol = match socket.transport {
                Transport::Udp | Transport::Sctp => continue,
                Transport::Tcp => net::Protocol::Tcp,
                Transport::Tls => net::Protocol::Tls,
                Transport::Ws => net::Protocol::Ws,
                Transport::Wss => net::Protocol::Wss,
            };
            let certificate = socket.transport.is_secure().then(|| tls.cloned()).flatten();
            let listener: std::io::Result<TcpListener> = match self.take(socket.address, false) {
                Some(inherited) => inherited.into_listener(),
                None => net::stream::bind_listener(socket.address, kernel),
            };
            let listener = listener.with_context(|| cannot_listen(socket))?;
            self.keep(socket, 0, listener.as_fd());
            streams.listen_on(protocol, listener, certificate).with_context(|| cannot_listen(socket))?;
        }
        Ok(())
    }

    /// Gives the open sockets into the care of the service manager, and has it close those that nobody wants any more:
    /// datagrams that arrive there would never be read. Gives copies of the open ones, for a successor.
    pub(crate) fn hand_over(self, notifier: &Notifier) -> Vec<(String, OwnedFd)> {
        for unwanted in self.inherited {
            notifier.forget(&unwanted.name);
        }
        for (name, socket) in &self.kept {
            notifier.keep(name, socket.as_fd());
        }
        self.kept
    }

    fn take(&mut self, address: SocketAddr, is_datagram: bool) -> Option<Inherited> {
        let at = self.inherited.iter().position(|socket| socket.is_bound_to(address, is_datagram))?;
        Some(self.inherited.remove(at))
    }

    fn keep(&mut self, socket: &Socket, worker: usize, file: BorrowedFd<'_>) {
        // A socket that cannot be copied is opened anew by the next process.
        let Ok(copy) = file.try_clone_to_owned() else { return };
        let place = socket.address.to_string().replace(':', "_");
        self.kept.push((format!("{}-{place}-{worker}", socket.transport.uri_param()), copy));
    }
}

/// With SO_REUSEPORT a second server of the same user could take half of the traffic unseen. An
/// ordinary socket tells whether the port is free.
fn refuse_if_taken(socket: &Socket, options: &UdpOptions) -> Result<()> {
    // An address that the host may not have yet cannot be tried.
    if options.binds_foreign {
        return Ok(());
    }
    std::net::UdpSocket::bind(socket.address).map(drop).with_context(|| cannot_listen(socket))
}

fn cannot_listen(socket: &Socket) -> String {
    format!("cannot listen on {socket}")
}
