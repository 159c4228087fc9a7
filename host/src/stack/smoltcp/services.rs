//! What the stack serves: TCP and UDP echo (RFC 862), TCP discard (RFC 863) that remembers what it swallowed.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use ::smoltcp::iface::{SocketHandle, SocketSet};
use ::smoltcp::socket::{tcp, udp};
use ::smoltcp::time::Duration;
use sha2::{Digest, Sha256};

/// TCP and UDP echo.
pub const ECHO_PORT: u16 = 7;
/// TCP discard.
pub const DISCARD_PORT: u16 = 9;
/// Connections of a service at a time.
const CONNECTIONS: usize = 4;
/// Socket buffers, in bytes.
pub(super) const BUFFER: usize = 256 * 1024;
const UDP_PACKETS: usize = 64;

/// One connection to the discard service that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Who sent.
    pub peer: SocketAddr,
    /// How many bytes.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: [u8; 32],
}

struct Connection {
    handle: SocketHandle,
    port: u16,
    peer: Option<SocketAddr>,
    bytes: u64,
    hash: Sha256,
}

pub(super) struct Services {
    connections: Vec<Connection>,
    udp: SocketHandle,
    pub received: Arc<Mutex<Vec<Received>>>,
}

pub(super) fn tcp_socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_nagle_enabled(false);
    socket
}

pub(super) fn udp_socket() -> udp::Socket<'static> {
    let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; UDP_PACKETS], vec![0; BUFFER]);
    udp::Socket::new(buffer(), buffer())
}

impl Services {
    pub fn new(sockets: &mut SocketSet<'static>) -> io::Result<Self> {
        let refused = |_| io::Error::other("smoltcp refused to listen");
        let mut connections = Vec::new();
        for port in [ECHO_PORT, DISCARD_PORT] {
            for _ in 0..CONNECTIONS {
                let mut socket = tcp_socket();
                // A client that is gone must not hold one of the few connections.
                socket.set_keep_alive(Some(Duration::from_secs(10)));
                socket.set_timeout(Some(Duration::from_secs(30)));
                socket.listen(port).map_err(refused)?;
                let handle = sockets.add(socket);
                connections.push(Connection { handle, port, peer: None, bytes: 0, hash: Sha256::new() });
            }
        }
        let mut socket = udp_socket();
        socket.bind(ECHO_PORT).map_err(|_| io::Error::other("smoltcp refused to bind"))?;
        Ok(Self { connections, udp: sockets.add(socket), received: Arc::default() })
    }

    /// Serves what is there. True when something was done.
    pub fn step(&mut self, sockets: &mut SocketSet<'static>) -> bool {
        let mut progress = false;
        for connection in &mut self.connections {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(connection.handle);
            progress |= match connection.port {
                ECHO_PORT => echo(socket),
                _ => connection.discard(socket),
            };
            if socket.may_send() && !socket.may_recv() && socket.recv_queue() == 0 {
                // The client has sent all it will: end our half once the answer is out.
                socket.close();
                progress = true;
            }
            if !socket.is_open() {
                if let Some(peer) = connection.peer.take() {
                    let hash = std::mem::take(&mut connection.hash);
                    let received = Received { peer, bytes: connection.bytes, sha256: hash.finalize().into() };
                    self.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
                    connection.bytes = 0;
                }
                // Cannot fail: the socket is closed and the port is not 0.
                progress |= socket.listen(connection.port).is_ok();
            }
        }
        let socket = sockets.get_mut::<udp::Socket<'_>>(self.udp);
        while socket.can_send() {
            let Ok((data, meta)) = socket.recv() else {
                break;
            };
            let data = data.to_vec();
            let _ = socket.send_slice(&data, meta);
            progress = true;
        }
        progress
    }
}

fn echo(socket: &mut tcp::Socket<'_>) -> bool {
    let mut progress = false;
    while socket.can_recv() && socket.can_send() {
        let room = socket.send_capacity() - socket.send_queue();
        let Ok(data) = socket.recv(|data| {
            let n = data.len().min(room);
            (n, data.get(..n).unwrap_or_default().to_vec())
        }) else {
            break;
        };
        let _ = socket.send_slice(&data);
        progress = true;
    }
    progress
}

impl Connection {
    fn discard(&mut self, socket: &mut tcp::Socket<'_>) -> bool {
        let mut progress = false;
        if self.peer.is_none()
            && let Some(peer) = socket.remote_endpoint()
        {
            self.peer = Some(SocketAddr::new(peer.addr.into(), peer.port));
        }
        while socket.can_recv() {
            let taken = socket.recv(|data| {
                self.hash.update(&*data);
                (data.len(), data.len())
            });
            self.bytes += taken.unwrap_or(0) as u64;
            progress = true;
        }
        progress
    }
}
