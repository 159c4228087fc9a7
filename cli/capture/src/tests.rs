use std::process::Command;

use super::*;

/// A classic pcap file by hand.
struct Pcap {
    big: bool,
    bytes: Vec<u8>,
}

impl Pcap {
    fn new(big: bool, magic: u32, version: (u16, u16), network: u32) -> Self {
        let mut file = Self { big, bytes: Vec::new() };
        file.u32(magic);
        file.u16(version.0);
        file.u16(version.1);
        for word in [0, 0, 65535, network] {
            file.u32(word);
        }
        file
    }

    fn u16(&mut self, v: u16) {
        self.bytes.extend(if self.big { v.to_be_bytes() } else { v.to_le_bytes() });
    }

    fn u32(&mut self, v: u32) {
        self.bytes.extend(if self.big { v.to_be_bytes() } else { v.to_le_bytes() });
    }

    fn record(mut self, time: (u32, u32), lengths: (u32, u32), data: &[u8]) -> Self {
        for word in [time.0, time.1, lengths.0, lengths.1] {
            self.u32(word);
        }
        self.bytes.extend(data);
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    time_ns: u64,
    link: u16,
    interface: usize,
    original_len: usize,
    direction: Option<Direction>,
    bytes: Vec<u8>,
}

/// All frames, and the error that ended them.
fn read_all(bytes: &[u8]) -> (Vec<Owned>, Option<CaptureError>) {
    let mut frames = Vec::new();
    let mut reader = match Reader::new(bytes) {
        Ok(reader) => reader,
        Err(e) => return (frames, Some(e)),
    };
    loop {
        match reader.next() {
            Ok(Some(f)) => frames.push(Owned {
                time_ns: f.time_ns,
                link: f.link.0,
                interface: f.interface,
                original_len: f.original_len,
                direction: f.direction,
                bytes: f.bytes.to_vec(),
            }),
            Ok(None) => return (frames, None),
            Err(e) => {
                assert!(matches!(reader.next(), Ok(None)), "after an error the reader is at its end");
                return (frames, Some(e));
            }
        }
    }
}

#[test]
fn classic_files_of_all_kinds() {
    for big in [false, true] {
        for (magic, time_ns) in [(0xa1b2_c3d4, 1_000_000_007_000), (0xa1b2_3c4d, 1_000_000_000_007)] {
            let file = Pcap::new(big, magic, (2, 4), 1)
                .record((1000, 7), (4, 60), b"abcd")
                .record((1001, 0), (0, 0), b"")
                .record((1002, 0), (5, 5), b"fghij");
            let (frames, error) = read_all(&file.bytes);
            assert!(error.is_none(), "{error:?}");
            let lengths: Vec<_> = frames.iter().map(|f| (f.bytes.len(), f.original_len)).collect();
            assert_eq!(lengths, [(4, 60), (0, 0), (5, 5)]);
            assert_eq!((frames[0].time_ns, frames[2].time_ns), (time_ns, 1_002_000_000_000));
            assert_eq!(frames[2].bytes, b"fghij");
        }
    }
}

#[test]
fn classic_files_with_swapped_lengths_fcs_and_private_raw() {
    // Before version 2.3 the original length came first; in 2.3 it may have.
    let file = Pcap::new(false, 0xa1b2_c3d4, (2, 2), 1).record((1, 0), (60, 4), b"abcd");
    let (frames, error) = read_all(&file.bytes);
    assert!(error.is_none());
    assert_eq!((frames[0].bytes.as_slice(), frames[0].original_len), (&b"abcd"[..], 60));
    let file =
        Pcap::new(false, 0xa1b2_c3d4, (2, 3), 1).record((1, 0), (60, 4), b"abcd").record((1, 0), (4, 60), b"efgh");
    assert_eq!(read_all(&file.bytes).0.iter().map(|f| f.original_len).collect::<Vec<_>>(), [60, 60]);

    // FCS of two 16-bit words: taken off where it was captured.
    let file = Pcap::new(false, 0xa1b2_c3d4, (2, 4), 0x2400_0001)
        .record((1, 0), (8, 8), b"abcdFCS!")
        .record((1, 0), (4, 8), b"abcd")
        .record((1, 0), (6, 8), b"abcdFC");
    for frame in read_all(&file.bytes).0 {
        assert_eq!((frame.bytes.as_slice(), frame.original_len), (&b"abcd"[..], 4));
    }
    let file = Pcap::new(false, 0xa1b2_c3d4, (2, 4), 12).record((1, 0), (1, 1), b"E");
    assert_eq!(read_all(&file.bytes).0[0].link, LinkType::RAW.0);
}

#[test]
fn modified_record_headers() {
    let mut file = Pcap::new(false, 0xa1b2_cd34, (2, 4), 1);
    for _ in 0..2 {
        file = file.record((1, 0), (4, 4), &[9; 8]);
        file.bytes.extend(b"abcd");
    }
    let (frames, error) = read_all(&file.bytes);
    assert!(error.is_none());
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1].bytes, b"abcd");
}

#[test]
fn frames_before_the_fault_are_kept() {
    let good = Pcap::new(false, 0xa1b2_c3d4, (2, 4), 1).record((1, 0), (4, 4), b"abcd");
    let at = good.bytes.len() as u64;
    let cut = good.bytes[..good.bytes.len() - 1].to_vec();
    assert_eq!(read_all(&cut).0.len(), 0);

    let huge = Pcap { big: false, bytes: good.bytes.clone() }.record((1, 0), (0x4000_0000, 60), b"abcd");
    let (frames, error) = read_all(&huge.bytes);
    let error = error.expect("a frame of a gigabyte");
    assert_eq!((frames.len(), error.frames, error.offset), (1, 1, at));
    assert!(error.to_string().contains("1073741824"), "{error}");

    let mut half = good.bytes.clone();
    half.extend([0; 9]);
    let (frames, error) = read_all(&half);
    assert_eq!(frames.len(), 1);
    assert!(matches!(error.unwrap().what, What::Truncated));
}

#[test]
fn what_is_no_capture_says_so() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"ab", "neither"),
        (b"LICENSE of something, longer than a header", "neither"),
        (&[0xd4, 0xc3, 0xb2, 0xa1, 0, 0], "ends inside"),
        (&[0x0a, 0x0d, 0x0d, 0x0a, 0, 0], "ends inside"),
    ] {
        let (frames, error) = read_all(bytes);
        assert_eq!(frames, []);
        assert!(error.unwrap().to_string().contains(word));
    }
}

/// A pcapng file by hand.
struct Ng {
    big: bool,
    bytes: Vec<u8>,
}

impl Ng {
    fn new(big: bool) -> Self {
        let mut file = Self { big, bytes: Vec::new() };
        file.section(big);
        file
    }

    fn section(&mut self, big: bool) {
        self.big = big;
        let body = [self.u32(0x1a2b_3c4d), self.u16(1), self.u16(0), vec![0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body);
    }

    fn u16(&self, v: u16) -> Vec<u8> {
        if self.big { v.to_be_bytes().to_vec() } else { v.to_le_bytes().to_vec() }
    }

    fn u32(&self, v: u32) -> Vec<u8> {
        if self.big { v.to_be_bytes().to_vec() } else { v.to_le_bytes().to_vec() }
    }

    fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut out = [self.u16(code), self.u16(value.len() as u16), value.to_vec()].concat();
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = self.u32(body.len() as u32 + 12);
        let block = [self.u32(kind), len.clone(), body, len].concat();
        self.bytes.extend(block);
    }

    fn interface(&mut self, link: u16, snaplen: u32, options: &[u8]) {
        let body = [self.u16(link), self.u16(0), self.u32(snaplen), options.to_vec()].concat();
        self.block(1, &body);
    }

    fn enhanced(&mut self, interface: u32, ticks: u64, data: &[u8], original: u32, options: &[u8]) {
        let mut body = [
            self.u32(interface),
            self.u32((ticks >> 32) as u32),
            self.u32(ticks as u32),
            self.u32(data.len() as u32),
            self.u32(original),
            data.to_vec(),
        ]
        .concat();
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(options);
        self.block(6, &body);
    }
}

#[test]
fn pcapng_sections_interfaces_and_packet_blocks() {
    for (first, second) in [(false, true), (true, false)] {
        let mut file = Ng::new(first);
        file.interface(1, 0, &[]);
        let binary = [
            file.option(9, &[0x80 | 10]),
            file.option(14, &{
                let offset = 100i64;
                if first { offset.to_be_bytes() } else { offset.to_le_bytes() }
            }),
        ]
        .concat();
        file.interface(101, 0, &binary);
        file.block(0x0bad, &[1; 400_000]); // a custom block longer than what is read at once
        file.enhanced(0, 1_500_000, b"abcde", 60, &[]);
        let flags = file.u32(2 | 4 << 5);
        let options = [file.option(1, b"note"), file.option(2, &flags), file.option(0, &[])].concat();
        file.enhanced(1, 1536, b"ipip4444", 8, &options);
        let simple = [file.u32(6), b"simple".to_vec()].concat();
        file.block(3, &simple);
        let obsolete =
            [file.u16(1), file.u16(7), file.u32(0), file.u32(1024), file.u32(3), file.u32(9), b"old".to_vec()].concat();
        file.block(2, &obsolete);
        file.section(second);
        let nano = file.option(9, &[9]);
        file.interface(1, 4, &nano);
        file.enhanced(0, 42, b"wxyz", 4, &[]);
        let simple = [file.u32(6), b"simp".to_vec()].concat();
        file.block(3, &simple);

        let (frames, error) = read_all(&file.bytes);
        assert!(error.is_none(), "{error:?}");
        let frame = |time_ns, link, interface, original_len, direction, bytes: &[u8]| Owned {
            time_ns,
            link,
            interface,
            original_len,
            direction,
            bytes: bytes.to_vec(),
        };
        assert_eq!(
            frames,
            [
                frame(1_500_000_000, 1, 0, 60, None, b"abcde"),
                frame(101_500_000_000, 101, 1, 4, Some(Direction::Out), b"ipip"),
                frame(0, 1, 0, 6, None, b"simple"),
                frame(101_000_000_000, 101, 1, 9, None, b"old"),
                frame(42, 1, 2, 4, None, b"wxyz"),
                frame(0, 1, 2, 6, None, b"simp"),
            ]
        );
    }
}

#[test]
fn pcapng_faults() {
    let base = || {
        let mut file = Ng::new(false);
        file.interface(1, 0, &[]);
        file.enhanced(0, 0, b"good", 4, &[]);
        file
    };
    let fault = |what: &str, change: &dyn Fn(&mut Ng)| {
        let mut file = base();
        change(&mut file);
        let (frames, error) = read_all(&file.bytes);
        let error = error.unwrap_or_else(|| panic!("{what}: no error"));
        assert_eq!(frames.len(), 1, "{what}");
        assert!(error.to_string().contains(what), "{error}");
    };
    fault("interface 1, which is not described", &|f| f.enhanced(1, 0, b"x", 1, &[]));
    fault("length 8", &|f| f.bytes.extend([6, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0]));
    fault("length 2130706432", &|f| f.bytes.extend([6, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0, 0]));
    fault("differ", &|f| {
        f.enhanced(0, 0, b"x", 1, &[]);
        *f.bytes.last_mut().unwrap() = 9;
    });
    fault("ends inside", &|f| {
        f.enhanced(0, 0, b"x", 1, &[]);
        f.bytes.pop();
    });
    fault("ends inside", &|f| f.bytes.extend([0xad, 0x0b, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]));
    fault("contents exceed it", &|f| {
        let at = f.bytes.len();
        f.enhanced(0, 0, b"x", 1, &[]);
        f.bytes[at + 20] = 200;
    });
    fault("in a block with room for", &|f| f.block(2, &[vec![0; 12], vec![200, 0, 0, 0], vec![0; 8]].concat()));
    fault("time stamp resolution", &|f| {
        let options = f.option(9, &[0x7f]);
        f.interface(1, 0, &options);
    });
    fault("byte-order magic", &|f| f.block(0x0a0d_0d0a, &[1; 16]));
    fault("pcapng version", &|f| f.block(0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn what_is_written_reads_back() {
    let mut writer = Writer::new(Vec::new()).unwrap();
    let one = writer.add_interface("en0", LinkType::ETHERNET).unwrap();
    let two = writer.add_interface("wire", LinkType::RAW).unwrap();
    let records = [
        (one, 1, 60, Some(Direction::Out), Some("block drop: rule 3"), &b"abcde"[..]),
        (two, u64::MAX, 3, None, None, b"xyz"),
        (one, 1_700_000_000_123_456_789, 0, Some(Direction::In), None, b""),
    ];
    for (interface, time_ns, original_len, direction, comment, bytes) in records {
        writer.write(&Record { interface, time_ns, original_len, direction, comment, bytes }).unwrap();
    }
    let stray = Record { interface: 2, time_ns: 0, original_len: 0, direction: None, comment: None, bytes: b"" };
    assert!(writer.write(&stray).is_err());
    let file = writer.finish().unwrap();
    let (frames, error) = read_all(&file);
    assert!(error.is_none(), "{error:?}");
    for (frame, (interface, time_ns, original_len, direction, _, bytes)) in frames.iter().zip(records) {
        assert_eq!(frame.interface, interface as usize);
        assert_eq!((frame.time_ns, frame.original_len), (time_ns, original_len));
        assert_eq!((frame.direction, frame.bytes.as_slice()), (direction, bytes));
    }
    assert_eq!(frames.len(), 3);

    // And by somebody else's reader, where there is one.
    let path = std::env::temp_dir().join(format!("weir-capture-{}.pcapng", std::process::id()));
    std::fs::write(&path, &file).unwrap();
    let fields =
        ["-e", "frame.len", "-e", "frame.cap_len", "-e", "frame.comment", "-e", "frame.packet_flags_direction"];
    match Command::new("tshark").arg("-r").arg(&path).args(["-T", "fields", "-E", "separator=;"]).args(fields).output()
    {
        Ok(out) => {
            let text = String::from_utf8_lossy(&out.stdout);
            let direction =
                |line: &str| line.rsplit(';').next().map(|d| u32::from_str_radix(d.trim_start_matches("0x"), 16));
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(lines.len(), 3, "{text} {}", String::from_utf8_lossy(&out.stderr));
            assert!(lines[0].starts_with("60;5;block drop: rule 3;"), "{text}");
            assert_eq!((direction(lines[0]), direction(lines[2])), (Some(Ok(2)), Some(Ok(1))), "{text}");
        }
        Err(e) => eprintln!("skipped: tshark: {e}"),
    }
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn no_input_panics_or_hangs() {
    // Every prefix and every single-byte change of one file of each format.
    let mut ng = Ng::new(true);
    let options = ng.option(9, &[6]);
    ng.interface(1, 0, &options);
    let flags = ng.u32(1);
    let options = ng.option(2, &flags);
    ng.enhanced(0, 5, b"abc", 3, &options);
    let simple = [ng.u32(3), b"abc".to_vec()].concat();
    ng.block(3, &simple);
    ng.block(2, &[0; 28]);
    let classic = Pcap::new(true, 0xa1b2_c3d4, (2, 3), 1).record((1, 0), (4, 4), b"abcd").bytes;
    for file in [ng.bytes, classic] {
        for cut in 0..file.len() {
            read_all(&file[..cut]);
        }
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut changed = file.clone();
                changed[at] ^= 1 << bit;
                read_all(&changed);
            }
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] = value;
                read_all(&changed);
            }
        }
    }
}

/// The numbers of frames in other people's captures are Wireshark's.
#[test]
fn counts_are_capinfos_counts() {
    let shared = std::env::var_os("WEIR_SHARED").map_or_else(|| "../../../shared".into(), std::path::PathBuf::from);
    let Ok(dir) = std::fs::read_dir(shared.join("corpus/pcap-tcpdump")) else {
        return eprintln!("skipped: no captures ({} is not there)", shared.display());
    };
    let paths: Vec<_> = dir.map(|e| e.unwrap().path()).collect();
    let Ok(out) = Command::new("capinfos").args(["-T", "-r", "-b", "-c"]).args(&paths).output() else {
        return eprintln!("skipped: capinfos is not installed");
    };
    let listed = String::from_utf8_lossy(&out.stdout);
    let listed: std::collections::HashMap<_, _> = listed
        .lines()
        .filter_map(|line| line.rsplit_once(char::is_whitespace))
        .map(|(path, count)| (path.trim(), count.trim()))
        .collect();
    let mut compared = 0;
    for path in &paths {
        // Wireshark refuses files of link types it does not know; tcpdump counts them.
        let count = match listed.get(path.to_string_lossy().as_ref()) {
            Some(count) => (*count).to_owned(),
            None => {
                let Ok(out) = Command::new("tcpdump").arg("--count").arg("-r").arg(path).output() else {
                    continue;
                };
                let text = String::from_utf8_lossy(&out.stdout);
                text.split(' ').next().unwrap_or_default().to_owned()
            }
        };
        let Ok(count) = count.parse::<u64>() else {
            continue;
        };
        let mut reader = Reader::open(path).unwrap();
        while let Ok(Some(_)) = reader.next() {}
        assert_eq!(reader.frames(), count, "{}", path.display());
        compared += 1;
    }
    assert!(compared + 1 >= paths.len(), "{compared} of {} files", paths.len());
    eprintln!("compared {compared} files");
}
