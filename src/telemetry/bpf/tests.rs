use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::compile::code::*;
use super::*;
use crate::mem::simd::Vector;
use crate::wire::tests::frames::{Transport, shape};
use crate::wire::{Family, parse};

fn i(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

/// `tcpdump -ddd -y EN10MB 'tcp port 80'`, libpcap 1.10.3.
const TCP_PORT_80: &str = "40 0 0 12;21 0 6 34525;48 0 0 20;21 0 15 6;40 0 0 54;21 12 0 80;40 0 0 56;21 10 11 80;\
    21 0 10 2048;48 0 0 23;21 0 8 6;40 0 0 20;69 6 0 8191;177 0 0 14;72 0 0 14;21 2 0 80;72 0 0 16;21 0 1 80;\
    6 0 0 262144;6 0 0 0";

/// The same for `portrange 1-1023 or port 8080 or port 8443 or port 5353`.
const PORTS: &str = "40 0 0 12;21 0 15 34525;48 0 0 20;21 2 0 132;21 1 0 6;21 0 33 17;40 0 0 54;53 0 1 1;37 0 29 1023;\
    40 0 0 56;53 0 1 1;37 0 26 1023;21 25 0 8080;21 24 0 8443;21 23 0 5353;40 0 0 54;21 21 19 8080;\
    21 0 21 2048;48 0 0 23;21 2 0 132;21 1 0 6;21 0 17 17;40 0 0 20;69 15 0 8191;177 0 0 14;72 0 0 14;\
    53 0 1 1;37 0 10 1023;72 0 0 16;53 0 1 1;37 0 7 1023;21 6 0 8080;21 5 0 8443;21 4 0 5353;72 0 0 14;\
    21 2 0 8080;21 1 0 8443;21 0 1 5353;6 0 0 262144;6 0 0 0";

/// The same for `tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420`.
const GET: &str = "40 0 0 12;21 0 13 2048;48 0 0 23;21 0 11 6;40 0 0 20;69 9 0 8191;177 0 0 14;80 0 0 26;84 0 0 240;\
    116 0 0 2;12 0 0 0;7 0 0 0;64 0 0 14;21 0 1 1195725856;6 0 0 262144;6 0 0 0";

fn program(text: &str) -> Vec<Instruction> {
    text.split(';')
        .map(|line| {
            let numbers: Vec<u32> = line.split_whitespace().map(|n| n.parse().unwrap()).collect();
            i(numbers[0] as u16, numbers[1] as u8, numbers[2] as u8, numbers[3])
        })
        .collect()
}

fn tcp(options: usize, sport: u16, dport: u16, offset: u16) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0, 0x45 + (options / 4) as u8, 0, 0, 0, 0, 0]);
    frame.extend(offset.to_be_bytes());
    frame.extend([64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.resize(34 + options, 1);
    frame.extend(sport.to_be_bytes());
    frame.extend(dport.to_be_bytes());
    frame.resize(frame.len() + 16, 0);
    frame
}

fn matches(program: &Program, frame: &[u8]) -> bool {
    program.run(frame, frame.len()) != 0
}

#[test]
fn tcpdumps_program_finds_what_it_is_meant_to() {
    let program = Program::new(&program(TCP_PORT_80)).unwrap();
    for options in [0, 4, 40] {
        assert_eq!(program.run(&tcp(options, 80, 1, 0), 60), 262_144);
        assert!(matches(&program, &tcp(options, 1, 80, 0)));
        assert!(!matches(&program, &tcp(options, 81, 8080, 0)));
        assert!(!matches(&program, &tcp(options, 80, 80, 185)), "a later fragment has no ports");
    }
    let frame = tcp(0, 1, 80, 0);
    for len in 0..frame.len() {
        assert_eq!(matches(&program, &frame[..len]), len >= 38, "{len} bytes");
    }
}

#[test]
fn what_must_not_run_is_refused() {
    let ret = i(RET, 0, 0, 1);
    let refused = |program: &[Instruction]| Program::new(program).unwrap_err();
    assert_eq!(refused(&[]), BpfError::Length(0));
    assert_eq!(refused(&vec![ret; 4097]), BpfError::Length(4097));
    assert_eq!(refused(&[i(LD | W | IMM, 0, 0, 1)]), BpfError::End);
    assert_eq!(refused(&[i(JMP | JA, 0, 0, 1), ret]), BpfError::Jump(0));
    assert_eq!(refused(&[i(JMP | JA, 0, 0, u32::MAX), ret]), BpfError::Jump(0));
    assert_eq!(refused(&[i(JMP | JEQ, 0, 1, 1), ret]), BpfError::Jump(0));
    assert_eq!(refused(&[i(ST, 0, 0, 16), ret]), BpfError::Memory(0));
    assert_eq!(refused(&[ret, i(LDX | W | MEM, 0, 0, 16), ret]), BpfError::Memory(1));
    assert_eq!(refused(&[i(ALU | DIV, 0, 0, 0), ret]), BpfError::Divisor(0));
    assert_eq!(refused(&[i(ALU | MOD, 0, 0, 0), ret]), BpfError::Divisor(0));
    for code in [0x18, 0x100, 0xffff, LD | MSH, LDX | ABS, ALU | 0xb0, JMP | 0x50, RET | X, MISC | 0x40, ST | 0x20] {
        assert_eq!(refused(&[i(code, 0, 0, 0), ret]), BpfError::Code(0), "{code:#x}");
    }
    Program::new(&vec![ret; 4096]).unwrap();
}

/// bpf(4), read line by line; nothing of it is shared with what is tested.
fn reference(program: &[Instruction], frame: &[u8], len: u32) -> u32 {
    let (mut a, mut x, mut m) = (0u32, 0u32, [0u32; 16]);
    let mut at = 0usize;
    let bytes = |offset: u64, count: u64| -> Option<u32> {
        let mut value = 0u32;
        for n in 0..count {
            value = value << 8 | u32::from(*frame.get((offset + n) as usize)?);
        }
        Some(value)
    };
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut jump = |yes: bool| at += usize::from(if yes { jt } else { jf });
        macro_rules! load {
            ($offset:expr, $count:expr) => {
                match bytes($offset, $count) {
                    Some(value) => value,
                    None => return 0,
                }
            };
        }
        match code {
            0x06 => return k,
            0x16 => return a,
            0x20 => a = load!(u64::from(k), 4),
            0x28 => a = load!(u64::from(k), 2),
            0x30 => a = load!(u64::from(k), 1),
            0x40 => a = load!(u64::from(k) + u64::from(x), 4),
            0x48 => a = load!(u64::from(k) + u64::from(x), 2),
            0x50 => a = load!(u64::from(k) + u64::from(x), 1),
            0x80 => a = len,
            0x81 => x = len,
            0x00 => a = k,
            0x01 => x = k,
            0x60 => a = m[k as usize],
            0x61 => x = m[k as usize],
            0xb1 => x = (load!(u64::from(k), 1) & 15) << 2,
            0x02 => m[k as usize] = a,
            0x03 => m[k as usize] = x,
            0x04 => a = a.wrapping_add(k),
            0x0c => a = a.wrapping_add(x),
            0x14 => a = a.wrapping_sub(k),
            0x1c => a = a.wrapping_sub(x),
            0x24 => a = a.wrapping_mul(k),
            0x2c => a = a.wrapping_mul(x),
            0x34 => a /= k,
            0x94 => a %= k,
            0x3c | 0x9c if x == 0 => return 0,
            0x3c => a /= x,
            0x9c => a %= x,
            0x44 => a |= k,
            0x4c => a |= x,
            0x54 => a &= k,
            0x5c => a &= x,
            0xa4 => a ^= k,
            0xac => a ^= x,
            0x64 => a = if k < 32 { a << k } else { 0 },
            0x6c => a = if x < 32 { a << x } else { 0 },
            0x74 => a = if k < 32 { a >> k } else { 0 },
            0x7c => a = if x < 32 { a >> x } else { 0 },
            0x84 => a = 0u32.wrapping_sub(a),
            0x05 => at += k as usize,
            0x15 => jump(a == k),
            0x1d => jump(a == x),
            0x25 => jump(a > k),
            0x2d => jump(a > x),
            0x35 => jump(a >= k),
            0x3d => jump(a >= x),
            0x45 => jump(a & k != 0),
            0x4d => jump(a & x != 0),
            0x07 => x = a,
            0x87 => a = x,
            code => panic!("{code:#x} was let through"),
        }
    }
}

/// Any instruction, with numbers that are often small enough to mean something.
fn instruction() -> impl Strategy<Value = Instruction> {
    let codes = [
        0x06, 0x16, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x81, 0x00, 0x01, 0x60, 0x61, 0xb1, 0x02, 0x03, 0x04,
        0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34, 0x94, 0x3c, 0x9c, 0x44, 0x4c, 0x54, 0x5c, 0xa4, 0xac, 0x64, 0x6c, 0x74,
        0x7c, 0x84, 0x05, 0x15, 0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x07, 0x87,
    ];
    // What tcpdump's programs are full of.
    let common = [0x28, 0x30, 0x20, 0x48, 0x50, 0x54, 0x15, 0x25, 0x35, 0x45, 0xb1];
    let code = prop_oneof![2 => prop::sample::select(codes.to_vec()), 3 => prop::sample::select(common.to_vec())];
    let k = prop_oneof![3 => 0u32..64, 1 => any::<u32>(), 1 => Just(0x0800u32)];
    (code, 0u8..4, 0u8..4, k).prop_map(|(code, jt, jf, k)| i(code, jt, jf, k))
}

/// A burst's verdicts are the manual's, with memory that was used before.
fn agrees(mut instructions: Vec<Instruction>, frames: &[Vec<u8>]) -> Result<(), TestCaseError> {
    for instruction in &mut instructions {
        if matches!(instruction.code, 0x60 | 0x61 | 0x02 | 0x03) {
            instruction.k %= 16;
        }
    }
    let Ok(program) = Program::new(&instructions) else { return Ok(()) };
    // Without what only some processors have, too.
    let mut plain = program.clone();
    if let Some(plan) = &mut plain.plan {
        plan.vector = Vector::none();
    }
    let mut scratch = Scratch::default();
    // As they are, fewer of them, none shorter than an acknowledgement, and none shorter than Ethernet's.
    let at_least = |len: usize| -> Vec<_> {
        let mut all = frames.to_vec();
        all.iter_mut().for_each(|frame| frame.resize(frame.len().max(len), 3));
        all
    };
    for frames in [frames, &frames[frames.len() / 3..], &at_least(54), &at_least(60)] {
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        for program in [&program, &plain] {
            let mut kept = vec![77; frames.len()];
            program.run_burst(&mut scratch, &frames, &mut kept);
            for (frame, kept) in frames.iter().zip(kept) {
                prop_assert_eq!(kept, reference(&instructions, frame, frame.len() as u32));
            }
        }
    }
    Ok(())
}

/// Nearly all random programs can be planned, so that the test above means something.
#[test]
fn a_plan_is_the_rule() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut all, mut planned) = (0, 0);
    for _ in 0..2000 {
        let tree = prop::collection::vec(instruction(), 0..24).new_tree(&mut runner).unwrap();
        let mut instructions = tree.current();
        instructions.push(i(0x16, 0, 0, 0));
        if let Ok(program) = Program::new(&instructions) {
            all += 1;
            planned += usize::from(program.plan.is_some());
        }
    }
    assert!(all > 100 && planned * 10 > all * 9, "{planned} of {all}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn does_what_the_manual_says(
        mut instructions in prop::collection::vec(instruction(), 0..24),
        frame in prop::collection::vec(prop_oneof![any::<u8>(), 0u8..3], 0..80),
        more in 0usize..100,
    ) {
        instructions.push(i(0x16, 0, 0, 0));
        for instruction in &mut instructions {
            if matches!(instruction.code, 0x60 | 0x61 | 0x02 | 0x03) {
                instruction.k %= 16;
            }
        }
        let Ok(program) = Program::new(&instructions) else { return Ok(()) };
        let len = frame.len() + more;
        prop_assert_eq!(program.run(&frame, len), reference(&instructions, &frame, len as u32));
    }

    #[test]
    fn a_burst_is_asked_what_each_frame_is(
        mut instructions in prop::collection::vec(instruction(), 0..24),
        frames in prop::collection::vec(prop::collection::vec(prop_oneof![any::<u8>(), 0u8..3], 0..80), 0..70),
    ) {
        instructions.push(i(0x16, 0, 0, 0));
        agrees(instructions, &frames)?;
    }

    #[test]
    fn a_burst_is_asked_as_tcpdumps_program_says(
        frames in prop::collection::vec(shape(), 0..40), cuts in prop::collection::vec(0usize..200, 40),
        text in prop::sample::select(vec![TCP_PORT_80, PORTS, GET]),
    ) {
        let frames: Vec<_> = frames.iter().zip(cuts).map(|(shape, cut)| {
            let mut frame = shape.build();
            frame.truncate(cut.max(10));
            frame
        }).collect();
        let instructions = program(text);
        prop_assert!(Program::new(&instructions).unwrap().plan.is_some());
        agrees(instructions, &frames)?;
    }

    #[test]
    fn no_program_and_no_frame_makes_it_fail(
        numbers in prop::collection::vec((any::<u16>(), any::<u8>(), any::<u8>(), any::<u32>()), 0..40),
        frame in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let instructions: Vec<_> = numbers.into_iter().map(|(code, jt, jf, k)| i(code & 0xff, jt & 3, jf & 3, k)).collect();
        if let Ok(program) = Program::new(&instructions) {
            let _ = program.run(&frame, frame.len());
        }
    }

    #[test]
    fn tcpdumps_program_agrees_with_the_parse(mut shape in shape(), web in any::<bool>()) {
        // The expression does not look behind tags nor extension headers, and takes no account of lengths.
        shape.tags.clear();
        if let Transport::Tcp { src, .. } | Transport::Udp { src, .. } = &mut shape.transport && web {
            *src = 80;
        }
        let frame = shape.build();
        let parsed = parse(&frame);
        let direct = parsed.family == Family::V4 || (parsed.family == Family::V6 && parsed.l4 == 54);
        if parsed.error.is_some() || !direct {
            return Ok(());
        }
        let ports = [parsed.src_port, parsed.dst_port].contains(&80);
        let expected = parsed.protocol == 6 && !parsed.is_later_fragment() && ports;
        prop_assert_eq!(matches(&Program::new(&program(TCP_PORT_80)).unwrap(), &frame), expected);
    }
}
