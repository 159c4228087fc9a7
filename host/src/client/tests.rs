use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wire::{Message, decode, encode, receive, send};
use super::{Call, Completion, INLINE_MAX, RemoteClient, Reply, STRUCT_MAX};
use crate::mem::{Map, Mem};
use crate::mock::{NIC, personality, register};
use crate::sched::lock;
use crate::{Host, HostConfig, IoReturn, Prop, Properties};

fn may() -> Properties {
    [("may".to_owned(), Prop::Bool(true))].into_iter().collect()
}

fn host(config: HostConfig) -> Host {
    register();
    Host::new(HostConfig { collect_violations: true, strict_leaks: true, ..config })
}

fn reverse(n: usize) -> Call {
    let input: Vec<u8> = (0..n).map(|i| i as u8).collect();
    Call { scalars: vec![1, u64::MAX], scalars_out: 2, input: Some(input), output_max: n as u64, ..Call::default() }
}

fn reversed(n: usize) -> Reply {
    let output = (0..n).rev().map(|i| i as u8).collect();
    Reply { status: IoReturn::SUCCESS, scalars: vec![2, 0], output }
}

fn bytes(m: &Map, n: usize) -> Vec<u8> {
    assert!(n as u64 <= m.length());
    // SAFETY: inside the mapping.
    unsafe { std::slice::from_raw_parts(m.address() as *const u8, n) }.to_vec()
}

#[test]
fn calls_memory_and_completions_in_process() {
    let h = host(HostConfig::simulated(4));
    let s = h.boot(NIC, personality(&[])).unwrap();
    assert_eq!(s.open_user_client(7, Properties::new(), None).err(), Some(IoReturn::NOT_PRIVILEGED));
    assert_eq!(s.open_user_client(8, may(), None).err(), Some(IoReturn::BAD_ARGUMENT));
    let log = Arc::new(Mutex::new(Vec::new()));
    let to = log.clone();
    let c = s.open_user_client(7, may(), Some(Arc::new(move |c| lock(&to).push(c)))).unwrap();
    for n in [0, 10, INLINE_MAX, INLINE_MAX + 1, 1 << 20] {
        assert_eq!(c.call(reverse(n)).unwrap(), reversed(n), "{n}");
    }
    assert_eq!(c.call(Call { scalars: vec![0; 17], ..Call::default() }), Err(IoReturn::BAD_ARGUMENT));
    assert_eq!(c.call(Call { output_max: STRUCT_MAX as u64 + 1, ..Call::default() }), Err(IoReturn::MESSAGE_TOO_LARGE));
    assert_eq!(c.call(Call { selector: 99, ..Call::default() }).unwrap().status, IoReturn::UNSUPPORTED);
    c.call(Call { selector: 1, async_reference: 42, ..Call::default() }).unwrap();
    h.run_until_idle();
    let want = [(IoReturn::SUCCESS, vec![1, 2]), (IoReturn::ABORTED, vec![])];
    let want = want.map(|(status, values)| Completion { reference: 42, status, values });
    assert_eq!(*lock(&log), want);
    assert_eq!(bytes(&c.map_memory(0).unwrap(), 5), b"hello");
    assert_eq!(c.map_memory(2).err(), Some(IoReturn::NOT_FOUND));
    let mine = Mem::buffer(3, 5000, 0).unwrap();
    mine.write(4990, b"mine").unwrap();
    let base = c.offer_memory(&mine).unwrap();
    let at = |a, n| Call { selector: 2, scalars: vec![a, n], output_max: 64, ..Call::default() };
    assert_eq!(c.call(at(base + 4990, 4)).unwrap().output, b"mine");
    for (a, n) in [(base + 4990, 11), (base - 1, 4), (u64::MAX, 4), (base, 0)] {
        assert_eq!(c.call(at(a, n)).unwrap().status, IoReturn::BAD_ARGUMENT, "{a} {n}");
    }
    c.close();
    let left = s.open_user_client(7, may(), None).unwrap();
    assert!(s.terminate().freed, "a service ends with its clients");
    assert_eq!(left.call(reverse(1)), Err(IoReturn::NOT_OPEN));
    drop((left, s));
    assert!(h.finish().violations.is_empty());
}

fn listening(h: &mut Host) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("dext.sock");
    h.listen(&path, Arc::new(|_uid| Some(may()))).unwrap();
    (dir, path)
}

#[test]
fn a_thousand_connections_over_a_socket() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    // Both ends of each are in this process.
    let count = usize::try_from(most / 4).unwrap().min(1000);
    let mut h = host(HostConfig::threads());
    let (_dir, path) = listening(&mut h);
    let s = h.boot(NIC, personality(&[])).unwrap();
    let mut clients: Vec<_> = (0..count).map(|_| RemoteClient::open(&path, NIC, 7).unwrap()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.call(reverse(n)).unwrap(), reversed(n));
    }
    // Half of them die, the other half goes with the driver.
    clients.truncate(count / 2);
    for client in &mut clients {
        assert_eq!(client.call(reverse(9)).unwrap(), reversed(9));
    }
    s.terminate();
    drop((clients, s));
    assert!(h.finish().violations.is_empty());
}

#[test]
fn the_same_over_a_socket() {
    let mut h = host(HostConfig::threads());
    let (_dir, path) = listening(&mut h);
    let s = h.boot(NIC, personality(&[])).unwrap();
    assert!(RemoteClient::open(&path, "NoSuchService", 7).is_err());
    let mut c = RemoteClient::open(&path, NIC, 7).unwrap();
    for n in [0, 10, INLINE_MAX + 1, 1 << 20] {
        assert_eq!(c.call(reverse(n)).unwrap(), reversed(n), "{n}");
    }
    c.call(Call { selector: 1, async_reference: 5, ..Call::default() }).unwrap();
    let got = [0, 1].map(|_| c.completion(Duration::from_secs(10)).unwrap().unwrap().status);
    assert_eq!(got, [IoReturn::SUCCESS, IoReturn::ABORTED]);
    assert_eq!(c.completion(Duration::from_millis(5)).unwrap(), None);
    let map = c.map_memory(0).unwrap();
    assert_eq!(bytes(&map, 5), b"hello");
    assert_eq!(bytes(&c.map_memory(1).unwrap(), 5), b"hello");
    let mine = Mem::buffer(3, 5000, 0).unwrap();
    mine.write(0, b"mine").unwrap();
    let base = c.offer_memory(&mine).unwrap();
    let call = Call { selector: 2, scalars: vec![base, 4], output_max: 64, ..Call::default() };
    assert_eq!(c.call(call).unwrap().output, b"mine");
    c.close().unwrap();
    // One that just goes away.
    drop(RemoteClient::open(&path, "", 7).unwrap());
    let clients = || h.runtime().registry.all().len() <= 2;
    assert!(h.runtime().wait_until(Duration::from_secs(10), clients));
    assert!(s.terminate().freed);
    drop(s);
    assert!(h.finish().violations.is_empty());
}

#[test]
fn hostile_peers_are_dropped() {
    let mut h = host(HostConfig::threads());
    let (_dir, path) = listening(&mut h);
    let s = h.boot(NIC, personality(&[])).unwrap();
    let mut x = 77u32;
    for round in 0..60u32 {
        let mut p = UnixStream::connect(&path).unwrap();
        if round % 3 == 0 {
            send(&p, 1, &Message::Open { service: NIC.to_owned(), kind: 7 }, &[]).unwrap();
            receive(&p).unwrap().unwrap();
        }
        let (kind, mut body) = encode(&Message::Call(reverse(100)));
        for _ in 0..3 {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            let at = x as usize % body.len();
            body[at] = (x >> 8) as u8;
        }
        let len = if round % 5 == 0 { x } else { body.len() as u32 };
        let words = [0x434b_4457, 1 << 16 | u32::from(kind), len, 1];
        let head: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        let _ = p.write_all(&head).and_then(|()| p.write_all(&body));
        let _ = p.shutdown(std::net::Shutdown::Write);
        let _ = receive(&p);
    }
    let mut good = RemoteClient::open(&path, NIC, 7).unwrap();
    assert_eq!(good.call(reverse(3)).unwrap(), reversed(3));
    drop(good);
    s.terminate();
    drop(s);
    assert!(h.finish().violations.is_empty());
}

#[test]
fn every_cut_and_every_flip_of_a_message_decodes_or_is_refused() {
    let all = [
        Message::Open { service: "x".to_owned(), kind: 1 },
        Message::Done { status: IoReturn::BUSY, value: 3 },
        Message::Call(Call { async_reference: 3, ..reverse(9) }),
        Message::Call(Call::default()),
        Message::Reply(reversed(5)),
        Message::Memory { kind: 1 },
        Message::MemoryIs { status: IoReturn::SUCCESS, offset: 1, length: 2, read_only: true },
        Message::Offer { length: 4 },
        Message::Completion(Completion { reference: 1, status: IoReturn::ABORTED, values: vec![1] }),
        Message::Close,
    ];
    for m in all {
        let (kind, body) = encode(&m);
        assert_eq!(decode(kind, &body), Some(m.clone()));
        for cut in 0..body.len() {
            assert_eq!(decode(kind, &body[..cut]), None, "{m:?} cut at {cut}");
        }
        for at in 0..body.len() * 8 {
            let mut b = body.clone();
            b[at / 8] ^= 1 << (at % 8);
            let _ = decode(kind, &b);
        }
        let mut long = body.clone();
        long.push(0);
        assert_eq!(decode(kind, &long), None);
    }
    assert_eq!(decode(99, &[]), None);
}
