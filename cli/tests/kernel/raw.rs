//! Frames as they are: what a kernel without VLAN support cannot make by itself.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// Sends 802.1Q and 802.1ad tagged frames from a packet socket in namespace `a` and compares what a packet socket in
/// `b` receives, byte for byte. The kernel strips the outer tag into ancillary data (packet(7), PACKET_AUXDATA), so the
/// receiver puts it back.
pub fn tagged_frames(a: &str, b: &str, interface: &str) {
    let receive = format!(
        "import socket,struct,sys\n\
         s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW,socket.htons(3));s.bind(('{interface}',0))\n\
         s.setsockopt(263,8,1);s.settimeout(5)\n\
         print('listening',flush=True)\n\
         got=set()\n\
         while len(got)<6:\n\
         \x20d,anc,f,addr=s.recvmsg(20000,256)\n\
         \x20for level,kind,data in anc:\n\
         \x20\x20if level==263 and kind==8:\n\
         \x20\x20\x20st,l,sn,m,n,tci,tpid=struct.unpack('IIIHHHH',data[:20])\n\
         \x20\x20\x20if st&16: d=d[:12]+struct.pack('!HH',tpid if st&64 else 0x8100,tci)+d[12:]\n\
         \x20if d[6:12]==bytes.fromhex('0200000000aa'): got.add(d.hex())\n\
         for g in sorted(got): print(g)"
    );
    let mut frames = Vec::new();
    for (index, tags) in ["8100 0005", "8100 e00a", "88a8 0064 8100 0005", "88a8 2064 8100 4fff"].iter().enumerate() {
        frames.push(frame(tags, 64 + 100 * index));
    }
    // The largest that a packet socket sends at MTU 1500: an 802.1Q tag is not counted, an 802.1ad one is.
    frames.push(frame("8100 0001", 1500));
    frames.push(frame("88a8 0001 8100 0002", 1492));
    let send = format!(
        "import socket,sys\n\
         s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW);s.bind(('{interface}',0))\n\
         for f in sys.stdin.read().split(): s.send(bytes.fromhex(f))"
    );
    let mut receiver = Command::new("ip")
        .args(["netns", "exec", b, "python3", "-c", &receive])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = receiver.stdout.take().unwrap();
    let mut ready = [0; 10];
    output.read_exact(&mut ready).unwrap();
    let mut sender =
        Command::new("ip").args(["netns", "exec", a, "python3", "-c", &send]).stdin(Stdio::piped()).spawn().unwrap();
    sender.stdin.take().unwrap().write_all(frames.join("\n").as_bytes()).unwrap();
    assert!(sender.wait().unwrap().success());
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    receiver.wait().unwrap();
    let mut received: Vec<&str> = text.split_whitespace().collect();
    received.sort_unstable();
    frames.sort_unstable();
    assert_eq!(received, frames);
}

/// A broadcast frame with these tags and a payload of `len` counted bytes, in hex.
fn frame(tags: &str, len: usize) -> String {
    let tags: String = tags.split_whitespace().collect();
    let payload: String = (0..len).map(|i| format!("{:02x}", i & 0xff)).collect();
    format!("ffffffffffff0200000000aa{tags}88b5{payload}")
}
