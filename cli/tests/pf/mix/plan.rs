//! What a connection of the mix does, both ends of it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::{Dice, Target};
use crate::net::within;

/// How a connection ends. The numbers are what a client tells its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client closes when both have said everything.
    Client = 0,
    /// The server does.
    Server = 1,
    /// The client says that it has said everything, then listens for long.
    HalfClient = 2,
    /// The server does.
    HalfServer = 3,
    /// The client resets while the server talks.
    ResetByClient = 4,
    /// The server resets while the client talks.
    ResetByServer = 5,
    /// Nobody listens.
    Refused = 6,
}

const ENDS: [End; 7] =
    [End::Client, End::Server, End::HalfClient, End::HalfServer, End::ResetByClient, End::ResetByServer, End::Refused];

/// A wait of either end that something must end.
const PATIENCE: Duration = Duration::from_secs(150);
const HEADER: usize = 24;

#[derive(Clone, Debug)]
pub struct Plan {
    pub target: Target,
    pub end: End,
    seed: u64,
    /// Bytes from the client, and from the server.
    up: u32,
    down: u32,
    /// Receive buffers, which make windows and their scales; 0 = the kernel's choice.
    buffers: [u32; 2],
    /// Milliseconds that readers sleep now and then: windows close.
    slow: u8,
    /// Milliseconds of silence, bridged by keep-alives of a second.
    idle: u32,
    /// The client's port, which earlier connections had; 0 = a fresh one.
    pub port: u16,
}

impl Plan {
    pub fn random(dice: &mut Dice, targets: &[Target]) -> Self {
        let target = targets[dice.below(targets.len())].clone();
        let end = if target.refuses { End::Refused } else { ENDS[dice.below(6)] };
        let size = |dice: &mut Dice| match dice.below(16) {
            0..9 => dice.below(3000) as u32,
            9..14 => dice.below(200_000) as u32,
            _ => dice.below(3_000_000) as u32,
        };
        let buffer = |dice: &mut Dice| match dice.below(4) {
            0 => [2304, 8192, 65_536, 3_000_000][dice.below(4)],
            _ => 0,
        };
        let (up, down) = (size(dice), size(dice));
        let slow = if dice.below(8) == 0 && up.max(down) < 200_000 { 5 + dice.below(40) as u8 } else { 0 };
        let fixed = target.fixed_ports && dice.below(6) == 0;
        Self {
            target,
            end,
            seed: dice.next(),
            up,
            down,
            buffers: [buffer(dice), buffer(dice)],
            slow,
            idle: if dice.below(20) == 0 { 1500 + dice.below(2500) as u32 } else { 0 },
            port: if fixed { 30_000 + dice.below(8) as u16 } else { 0 },
        }
    }

    fn header(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&self.seed.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.up.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.down.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.buffers[1].to_be_bytes());
        bytes[20..22].copy_from_slice(&(self.idle as u16).to_be_bytes());
        (bytes[22], bytes[23]) = (self.slow, self.end as u8);
        bytes
    }

    /// The client's end. An error tells what went otherwise than on a bare wire.
    pub fn run(&self, ns: &str) -> Result<(), String> {
        let connected = self.open(ns);
        if self.end == End::Refused {
            return match connected {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
                other => Err(format!("not refused: {other:?}")),
            };
        }
        let mut stream = match connected {
            Ok(stream) => stream,
            // The kernel's own: the port is still another connection's (TIME-WAIT, RFC 9293 section 3.6.1).
            Err(error) if self.port != 0 && error.kind() == ErrorKind::AddrNotAvailable => return Ok(()),
            Err(error) => return Err(format!("connect: {error}")),
        };
        let at = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        stream.write_all(&self.header()).map_err(at("header"))?;
        std::thread::sleep(Duration::from_millis(self.idle.into()));
        match self.end {
            End::Client => {
                self.both(&stream, true)?;
                stream.shutdown(Shutdown::Write).map_err(at("shutdown"))?;
                ended(&mut stream)
            }
            End::Server => {
                self.both(&stream, true)?;
                ended(&mut stream)
            }
            End::HalfClient => {
                say(&stream, self.seed, self.up).map_err(at("send"))?;
                stream.shutdown(Shutdown::Write).map_err(at("shutdown"))?;
                hear(&stream, !self.seed, self.down, self.slow)?;
                ended(&mut stream)
            }
            End::HalfServer => {
                hear(&stream, !self.seed, self.down, self.slow)?;
                ended(&mut stream)?;
                say(&stream, self.seed, self.up).map_err(at("send"))
            }
            End::ResetByClient => {
                hear(&stream, !self.seed, self.before_reset(), 0)?;
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(at("linger"))
            }
            End::ResetByServer => was_reset(&mut stream, self.seed),
            End::Refused => Ok(()),
        }
    }

    /// What the client hears before it resets. Something: a reset behind a header that nobody has answered may overtake it,
    /// where a proxy or a lossy wire makes the sender repeat it, and then the server knows of no plan.
    fn before_reset(&self) -> u32 {
        self.down.clamp(1, 50_000)
    }

    fn open(&self, ns: &str) -> io::Result<TcpStream> {
        let address: SocketAddr = self.target.address;
        let socket = within(ns, || Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)))?;
        if self.buffers[0] != 0 {
            socket.set_recv_buffer_size(self.buffers[0] as usize)?;
        }
        if self.port != 0 {
            socket.set_reuse_address(true)?;
            let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
            let local = SocketAddr::new(any.parse().expect("an address"), self.port);
            if socket.bind(&local.into()).is_err() {
                return Err(ErrorKind::AddrNotAvailable.into());
            }
        }
        if self.idle != 0 {
            keep_alive(&socket)?;
        }
        socket.connect_timeout(&address.into(), PATIENCE)?;
        let stream: TcpStream = socket.into();
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn both(&self, stream: &TcpStream, client: bool) -> Result<(), String> {
        let (mine, theirs) = if client { (self.seed, !self.seed) } else { (!self.seed, self.seed) };
        let (out, back) = if client { (self.up, self.down) } else { (self.down, self.up) };
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| say(stream, mine, out));
            let heard = hear(stream, theirs, back, self.slow);
            sender.join().map_err(|_| "panic")?.map_err(|error| format!("send: {error}"))?;
            heard
        })
    }
}

fn keep_alive(socket: &Socket) -> io::Result<()> {
    let second = Duration::from_secs(1);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(second).with_interval(second).with_retries(100))
}

/// The server's end.
pub fn serve(mut stream: TcpStream) -> Result<(), String> {
    let at = |what: &'static str| move |error: io::Error| format!("server, {what}: {error}");
    stream.set_read_timeout(Some(PATIENCE)).map_err(at("socket"))?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(at("socket"))?;
    let mut bytes = [0; HEADER];
    stream.read_exact(&mut bytes).map_err(at("header"))?;
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let plan = Plan {
        target: Target::nobody(),
        end: ENDS[usize::from(bytes[23]) % ENDS.len()],
        seed: u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes")),
        up: word(8),
        down: word(12),
        buffers: [0, word(16)],
        slow: bytes[22],
        idle: u32::from(u16::from_be_bytes([bytes[20], bytes[21]])),
        port: 0,
    };
    if plan.buffers[1] != 0 {
        SockRef::from(&stream).set_recv_buffer_size(plan.buffers[1] as usize).map_err(at("socket"))?;
    }
    match plan.end {
        End::Client => {
            plan.both(&stream, false)?;
            ended(&mut stream)
        }
        End::Server => plan.both(&stream, false),
        End::HalfClient => {
            hear(&stream, plan.seed, plan.up, plan.slow)?;
            ended(&mut stream)?;
            std::thread::sleep(Duration::from_millis(plan.seed % 300));
            say(&stream, !plan.seed, plan.down).map_err(at("send"))
        }
        End::HalfServer => {
            say(&stream, !plan.seed, plan.down).map_err(at("send"))?;
            stream.shutdown(Shutdown::Write).map_err(at("shutdown"))?;
            hear(&stream, plan.seed, plan.up, plan.slow)?;
            ended(&mut stream)
        }
        End::ResetByClient => {
            say(&stream, !plan.seed, plan.before_reset()).map_err(at("send"))?;
            was_reset(&mut stream, !plan.seed)
        }
        End::ResetByServer => {
            std::thread::sleep(Duration::from_millis(plan.seed % 50));
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).map_err(at("linger"))
        }
        End::Refused => Err("nobody could have come here".into()),
    }
}

/// The n-th block of what somebody with this seed says.
fn block(seed: u64, n: u32, bytes: &mut [u8]) {
    for (index, chunk) in bytes.chunks_mut(8).enumerate() {
        let word = (seed ^ u64::from(n) << 20 ^ index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        chunk.copy_from_slice(&word.to_be_bytes()[..chunk.len()]);
    }
}

const BLOCK: usize = 16 << 10;

fn say(mut stream: &TcpStream, seed: u64, len: u32) -> io::Result<()> {
    let mut bytes = [0; BLOCK];
    let mut left = len as usize;
    let mut n = 0;
    while left > 0 {
        let part = left.min(BLOCK);
        block(seed, n, &mut bytes[..part]);
        stream.write_all(&bytes[..part])?;
        (left, n) = (left - part, n + 1);
    }
    Ok(())
}

fn hear(mut stream: &TcpStream, seed: u64, len: u32, slow: u8) -> Result<(), String> {
    let (mut bytes, mut wanted) = ([0; BLOCK], [0; BLOCK]);
    let mut left = len as usize;
    let mut n = 0;
    while left > 0 {
        let part = left.min(BLOCK);
        let at = len as usize - left;
        stream.read_exact(&mut bytes[..part]).map_err(|error| format!("receive from {at} of {len}: {error}"))?;
        block(seed, n, &mut wanted[..part]);
        if bytes[..part] != wanted[..part] {
            return Err(format!("other bytes than were sent, from {at} of {len}"));
        }
        (left, n) = (left - part, n + 1);
        std::thread::sleep(Duration::from_millis(slow.into()));
    }
    Ok(())
}

/// Nothing more comes, and that is said.
fn ended(stream: &mut TcpStream) -> Result<(), String> {
    // A process that was stopped and goes on is interrupted in a read with a timeout (signal(7)).
    let read = loop {
        match stream.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read,
        }
    };
    match read {
        Ok(0) => Ok(()),
        other => Err(format!("wanted the end: {other:?}")),
    }
}

/// Talks until the other end has reset the connection.
fn was_reset(stream: &mut TcpStream, seed: u64) -> Result<(), String> {
    let mut bytes = [0; 1024];
    block(seed, 0, &mut bytes);
    loop {
        match stream.write_all(&bytes) {
            Ok(()) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return Ok(()),
            Err(error) => return Err(format!("wanted a reset: {error}")),
        }
    }
}
