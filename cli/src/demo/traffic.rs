//! Traffic of the real kernel: what the demo sends through the driver, with ordinary sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::netns::Namespace;

/// What a row of echo requests saw.
#[derive(Clone, Debug, Default)]
pub struct Echo {
    /// Requests sent.
    pub sent: u32,
    /// Replies that came back with the right payload.
    pub received: u32,
    /// Round-trip times, sorted.
    pub rtt: Vec<Duration>,
}

impl Echo {
    /// The round-trip time below which `percent` of all replies lie.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = self.rtt.len().saturating_sub(1);
        self.rtt.get((self.rtt.len() * percent / 100).min(last)).copied().unwrap_or_default()
    }
}

/// Sends `count` ICMP or ICMPv6 echo requests of `size` payload bytes to `to`, one after the other.
///
/// # Errors
/// The kernel refused the socket.
pub fn ping(from: &Namespace, to: IpAddr, count: u32, size: usize, timeout: Duration) -> Result<Echo> {
    from.run(|| {
        let (domain, protocol, request) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol)).context("cannot open an ICMP socket")?;
        socket.set_read_timeout(Some(timeout))?;
        let address = SockAddr::from(SocketAddr::new(to, 0));
        let id = u16::try_from(std::process::id() & 0xffff).unwrap_or(1).to_be_bytes();
        let mut echo = Echo::default();
        for number in 0..count {
            let sequence = u16::try_from(number & 0xffff).unwrap_or(0).to_be_bytes();
            let mut packet = vec![request, 0, 0, 0, id[0], id[1], sequence[0], sequence[1]];
            packet.extend((0..size).map(|i| u8::try_from(i & 0xff).unwrap_or(0)));
            if to.is_ipv4() {
                let sum = weir_core::wire::checksum::checksum(&packet);
                packet[2..4].copy_from_slice(&sum.to_be_bytes());
            }
            let start = Instant::now();
            socket.send_to(&packet, &address).context("cannot send an echo request")?;
            echo.sent += 1;
            if await_reply(&socket, to, &packet, start, timeout)? {
                echo.received += 1;
                echo.rtt.push(start.elapsed());
            }
        }
        echo.rtt.sort_unstable();
        Ok(echo)
    })
}

fn await_reply(mut socket: &Socket, to: IpAddr, sent: &[u8], start: Instant, timeout: Duration) -> Result<bool> {
    let reply_type = if to.is_ipv4() { 0 } else { 129 };
    let mut buffer = vec![0; 65_536];
    while start.elapsed() < timeout {
        let received = match socket.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let packet = buffer.get(..received).unwrap_or_default();
        // A raw IPv4 socket hands out the IP header, a raw ICMPv6 socket does not.
        let offset = if to.is_ipv4() { usize::from(packet.first().copied().unwrap_or(0) & 15) * 4 } else { 0 };
        if let Some(reply) = packet.get(offset..)
            && reply.first() == Some(&reply_type)
            && reply.get(4..) == sent.get(4..)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Bytes per second that one TCP connection carried for `duration`, checked end to end by count.
///
/// # Errors
/// The connection could not be made or broke.
pub fn tcp_throughput(client: &Namespace, server: &Namespace, to: SocketAddr, duration: Duration) -> Result<f64> {
    let (ready, listening) = mpsc::channel();
    thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            server.run(|| {
                let listener = TcpListener::bind(to).with_context(|| format!("cannot listen on {to}"))?;
                ready.send(()).ok();
                let (mut stream, _) = listener.accept()?;
                let mut buffer = vec![0; 1 << 17];
                let mut total = 0_u64;
                loop {
                    match stream.read(&mut buffer)? {
                        0 => return Ok(total),
                        n => total += n as u64,
                    }
                }
            })
        });
        listening.recv().ok();
        let sent = client.run(|| {
            let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))
                .with_context(|| format!("cannot connect to {to}"))?;
            let buffer = vec![0x5a; 1 << 17];
            let start = Instant::now();
            let mut total = 0_u64;
            while start.elapsed() < duration {
                stream.write_all(&buffer)?;
                total += buffer.len() as u64;
            }
            Ok((total, start))
        });
        let received = receiver.join().unwrap_or_else(|_| bail!("the receiver panicked"))?;
        let (sent, start) = sent?;
        if sent != received {
            bail!("TCP lost bytes: {sent} sent, {received} received");
        }
        Ok(received as f64 / start.elapsed().as_secs_f64())
    })
}

/// True if a TCP connection to `to` can be made within `timeout`.
///
/// # Errors
/// The namespaces cannot be entered or the port is taken.
pub fn tcp_connects(client: &Namespace, server: &Namespace, to: SocketAddr, timeout: Duration) -> Result<bool> {
    let listener = server.run(|| TcpListener::bind(to).with_context(|| format!("cannot listen on {to}")))?;
    let connected = client.run(|| Ok(TcpStream::connect_timeout(&to, timeout).is_ok()))?;
    drop(listener);
    Ok(connected)
}

/// Sends `count` datagrams of `size` bytes to an echo server at `to`; returns how many came back unchanged.
///
/// # Errors
/// The kernel refused a socket.
pub fn udp_echo(
    client: &Namespace,
    server: &Namespace,
    to: SocketAddr,
    count: u32,
    size: usize,
    timeout: Duration,
) -> Result<u32> {
    let echo = server.run(|| UdpSocket::bind(to).with_context(|| format!("cannot bind {to}")))?;
    echo.set_read_timeout(Some(timeout))?;
    let any: SocketAddr =
        if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = client.run(|| Ok(UdpSocket::bind(any)?))?;
    socket.set_read_timeout(Some(timeout))?;
    let mut buffer = vec![0; 65_536];
    let mut back = 0;
    for number in 0..count {
        let payload: Vec<u8> = (0..size).map(|i| u8::try_from((i + number as usize) & 0xff).unwrap_or(0)).collect();
        socket.send_to(&payload, to)?;
        let Ok((length, peer)) = echo.recv_from(&mut buffer) else { continue };
        echo.send_to(buffer.get(..length).unwrap_or_default(), peer)?;
        if let Ok(length) = socket.recv(&mut buffer)
            && buffer.get(..length) == Some(payload.as_slice())
        {
            back += 1;
        }
    }
    Ok(back)
}
