//! Changes to Mach-O files that no linker at hand makes: <https://github.com/apple-oss-distributions/xnu>,
//! EXTERNAL_HEADERS/mach-o/loader.h and fat.h, names the fields. Everything is 64-bit and little-endian.

use anyhow::{Context, Result, bail};
use object::macho;

/// CPU type and subtype of an architecture's name.
pub fn cpu(arch: &str) -> Result<(u32, u32)> {
    match arch {
        "arm64" => Ok((macho::CPU_TYPE_ARM64.0, macho::CPU_SUBTYPE_ARM64_ALL.0)),
        "x86_64" => Ok((macho::CPU_TYPE_X86_64.0, macho::CPU_SUBTYPE_X86_64_ALL.0)),
        _ => bail!("architecture {arch} is neither arm64 nor x86_64"),
    }
}

/// A little-endian number at an offset.
pub fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    let field = bytes.get(at..at + 4).context("the file ends early")?;
    Ok(u32::from_le_bytes(field.try_into()?))
}

/// Likewise, 64 bits.
pub fn u64_at(bytes: &[u8], at: usize) -> Result<u64> {
    let field = bytes.get(at..at + 8).context("the file ends early")?;
    Ok(u64::from_le_bytes(field.try_into()?))
}

/// Writes a little-endian number.
pub fn set_u32(bytes: &mut [u8], at: usize, value: u32) -> Result<()> {
    bytes.get_mut(at..at + 4).context("the file ends early")?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

/// Likewise, 64 bits.
pub fn set_u64(bytes: &mut [u8], at: usize, value: u64) -> Result<()> {
    bytes.get_mut(at..at + 8).context("the file ends early")?.copy_from_slice(&value.to_le_bytes());
    Ok(())
}

/// Size of `mach_header_64`.
pub const HEADER: usize = 32;

/// One load command: where it is and how long.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// `LC_*`.
    pub cmd: u32,
    /// Offset in the file.
    pub at: usize,
    /// Bytes.
    pub size: usize,
}

/// The load commands of a thin file.
///
/// # Errors
/// No 64-bit little-endian Mach-O, or commands that leave the file.
pub fn commands(bytes: &[u8]) -> Result<Vec<Command>> {
    if u32_at(bytes, 0)? != macho::MH_MAGIC_64 {
        bail!("no 64-bit Mach-O");
    }
    let count = u32_at(bytes, 16)?;
    let end = HEADER + u32_at(bytes, 20)? as usize;
    let mut at = HEADER;
    let mut commands = Vec::new();
    for _ in 0..count {
        let size = u32_at(bytes, at + 4)? as usize;
        if size < 8 || at + size > end || end > bytes.len() {
            bail!("load command {} leaves the table", commands.len());
        }
        commands.push(Command { cmd: u32_at(bytes, at)?, at, size });
        at += size;
    }
    Ok(commands)
}

/// Removes every load command of a kind. dyld refuses LC_MAIN in a driver extension, and lld always writes one.
///
/// # Errors
/// See [`commands`].
pub fn remove_command(bytes: &mut [u8], cmd: u32) -> Result<usize> {
    let mut removed = 0;
    while let Some(command) = commands(bytes)?.into_iter().find(|command| command.cmd == cmd) {
        let end = HEADER + u32_at(bytes, 20)? as usize;
        bytes.copy_within(command.at + command.size..end, command.at);
        if let Some(freed) = bytes.get_mut(end - command.size..end) {
            freed.fill(0);
        }
        let (count, size) = (u32_at(bytes, 16)?, u32_at(bytes, 20)?);
        set_u32(bytes, 16, count - 1)?;
        set_u32(bytes, 20, size - command.size as u32)?;
        removed += 1;
    }
    Ok(removed)
}

/// Appends a load command where the linker left room before the first section.
///
/// # Errors
/// There is no room.
pub fn add_command(bytes: &mut [u8], command: &[u8]) -> Result<usize> {
    let end = HEADER + u32_at(bytes, 20)? as usize;
    let room = first_section(bytes)?.saturating_sub(end);
    if room < command.len() {
        bail!("{room} bytes before the first section, {} needed for a load command", command.len());
    }
    bytes.get_mut(end..end + command.len()).context("the file ends early")?.copy_from_slice(command);
    let (count, size) = (u32_at(bytes, 16)?, u32_at(bytes, 20)?);
    set_u32(bytes, 16, count + 1)?;
    set_u32(bytes, 20, size + command.len() as u32)?;
    Ok(end)
}

fn first_section(bytes: &[u8]) -> Result<usize> {
    let mut first = bytes.len();
    for command in commands(bytes)?.iter().filter(|command| command.cmd == macho::LC_SEGMENT_64.0) {
        for index in 0..u32_at(bytes, command.at + 64)? as usize {
            let offset = u32_at(bytes, command.at + 72 + index * 80 + 48)? as usize;
            if offset != 0 {
                first = first.min(offset);
            }
        }
    }
    Ok(first)
}

/// A version as load commands have it: 16 bits, 8, 8.
pub fn packed_version((major, minor, patch): (u32, u32, u32)) -> u32 {
    major << 16 | (minor & 0xff) << 8 | patch & 0xff
}

/// Says that an object is for another platform: an object of macOS becomes one of DriverKit. The code is the same; only
/// its label is looked at by the linker.
///
/// # Errors
/// No LC_BUILD_VERSION to relabel.
pub fn retarget(object: &mut [u8], platform: u32, minimum: u32) -> Result<()> {
    let found = commands(object)?.into_iter().find(|command| command.cmd == macho::LC_BUILD_VERSION.0);
    let command = found.context("the object has no LC_BUILD_VERSION")?;
    set_u32(object, command.at + 8, platform)?;
    set_u32(object, command.at + 12, minimum)
}

/// [`retarget`] for every object in a static library of BSD's format; returns how many there were.
///
/// # Errors
/// No archive, or an object that cannot be relabelled.
pub fn retarget_archive(archive: &mut [u8], platform: u32, minimum: u32) -> Result<usize> {
    if !archive.starts_with(b"!<arch>\n") {
        bail!("no archive");
    }
    let mut at = 8;
    let mut count = 0;
    while at + 60 <= archive.len() {
        let text = |from: usize, to: usize| -> Result<String> {
            let field = archive.get(at + from..at + to).context("the archive ends early")?;
            Ok(String::from_utf8_lossy(field).trim_end().to_owned())
        };
        let name = text(0, 16)?;
        let size: usize = text(48, 58)?.parse().context("a member's size")?;
        // `#1/LEN`: the name is the first LEN bytes of the contents.
        let skip: usize = name.strip_prefix("#1/").map_or(Ok(0), str::parse).context("a member's name")?;
        let member = archive.get_mut(at + 60 + skip..at + 60 + size).context("the archive ends inside a member")?;
        if member.starts_with(&macho::MH_MAGIC_64.to_le_bytes()) {
            retarget(member, platform, minimum)?;
            count += 1;
        }
        at += 60 + size + size % 2;
    }
    Ok(count)
}

/// One file for several architectures. Slices begin at 16 KiB, the page size of arm64.
///
/// # Errors
/// An unknown architecture, or more than 4 GiB.
pub fn universal(slices: &[(&str, Vec<u8>)]) -> Result<Vec<u8>> {
    const ALIGN: usize = 14;
    let mut header = Vec::new();
    header.extend(macho::FAT_MAGIC.to_be_bytes());
    header.extend(u32::try_from(slices.len())?.to_be_bytes());
    let mut body: Vec<u8> = Vec::new();
    let first = (8 + slices.len() * 20).next_multiple_of(1 << ALIGN);
    for (arch, bytes) in slices {
        let (cpu, subtype) = cpu(arch)?;
        body.resize(body.len().next_multiple_of(1 << ALIGN), 0);
        for field in [cpu, subtype, u32::try_from(first + body.len())?, u32::try_from(bytes.len())?, ALIGN as u32] {
            header.extend(field.to_be_bytes());
        }
        body.extend(bytes);
    }
    header.resize(first, 0);
    header.extend(body);
    Ok(header)
}

/// The slices of a universal file, or a thin file alone: architecture, offset, length.
///
/// # Errors
/// Neither kind of file.
pub fn slices(bytes: &[u8]) -> Result<Vec<(String, usize, usize)>> {
    let big = |at: usize| -> Result<u32> {
        let field = bytes.get(at..at + 4).context("the file ends early")?;
        Ok(u32::from_be_bytes(field.try_into()?))
    };
    let name = |cpu: u32, subtype: u32| match (cpu, subtype & 0x00ff_ffff) {
        (cpu, 0) if cpu == macho::CPU_TYPE_ARM64.0 => "arm64".to_owned(),
        (cpu, 2) if cpu == macho::CPU_TYPE_ARM64.0 => "arm64e".to_owned(),
        (cpu, 3) if cpu == macho::CPU_TYPE_X86_64.0 => "x86_64".to_owned(),
        (cpu, subtype) => format!("cpu {cpu:#x}/{subtype}"),
    };
    if big(0)? != macho::FAT_MAGIC {
        if u32_at(bytes, 0)? != macho::MH_MAGIC_64 {
            bail!("no 64-bit Mach-O");
        }
        return Ok(vec![(name(u32_at(bytes, 4)?, u32_at(bytes, 8)?), 0, bytes.len())]);
    }
    (0..big(4)? as usize)
        .map(|index| {
            let at = 8 + index * 20;
            let (offset, size) = (big(at + 8)? as usize, big(at + 12)? as usize);
            if offset.checked_add(size).is_none_or(|end| end > bytes.len()) {
                bail!("slice {index} leaves the file");
            }
            Ok((name(big(at)?, big(at + 4)?), offset, size))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with the given load commands, then `room` zero bytes.
    fn thin(commands: &[&[u8]], room: usize) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        set_u32(&mut bytes, 0, macho::MH_MAGIC_64).expect("header");
        set_u32(&mut bytes, 4, macho::CPU_TYPE_ARM64.0).expect("header");
        set_u32(&mut bytes, 16, commands.len() as u32).expect("header");
        set_u32(&mut bytes, 20, commands.iter().map(|c| c.len() as u32).sum()).expect("header");
        bytes.extend(commands.concat());
        bytes.resize(bytes.len() + room, 0);
        bytes
    }

    fn build_version(platform: u32) -> Vec<u8> {
        [macho::LC_BUILD_VERSION.0, 24, platform, 0x000b_0000, 0, 0]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    }

    #[test]
    fn an_object_changes_its_platform_and_nothing_else() {
        let before = thin(&[&build_version(1)], 0);
        let mut after = before.clone();
        retarget(&mut after, 10, packed_version((21, 0, 0))).expect("retarget");
        assert_eq!(u32_at(&after, HEADER + 8).expect("platform"), 10);
        assert_eq!(u32_at(&after, HEADER + 12).expect("minimum"), 0x0015_0000);
        let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
        assert_eq!(changed, 2, "platform and major version");
    }

    #[test]
    fn every_object_of_an_archive_is_found() {
        let object = thin(&[&build_version(1)], 3);
        let mut archive = b"!<arch>\n".to_vec();
        for (name, contents) in
            [("#1/8", [b"x.o\0\0\0\0\0".as_slice(), &object].concat()), ("notes.txt", b"odd".to_vec()), ("y.o", object)]
        {
            archive.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, contents.len()).bytes());
            archive.extend(&contents);
            if contents.len() % 2 == 1 {
                archive.push(b'\n');
            }
        }
        assert_eq!(retarget_archive(&mut archive, 10, 0x0015_0000).expect("archive"), 2);
        archive.truncate(archive.len() - 10);
        assert!(retarget_archive(&mut archive, 10, 0).is_err(), "cut off");
        assert!(retarget_archive(&mut [0; 100], 10, 0).is_err());
    }

    #[test]
    fn commands_come_and_go() {
        let main = [macho::LC_MAIN.0, 24, 0, 0, 0, 0].iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
        let mut bytes = thin(&[&build_version(10), &main, &build_version(11)], 64);
        assert_eq!(remove_command(&mut bytes, macho::LC_MAIN.0).expect("remove"), 1);
        let left: Vec<u32> = commands(&bytes).expect("commands").iter().map(|command| command.cmd).collect();
        assert_eq!(left, [macho::LC_BUILD_VERSION.0; 2]);
        add_command(&mut bytes, &main).expect("room");
        assert_eq!(commands(&bytes).expect("commands").len(), 3);
        assert!(add_command(&mut bytes, &[0; 128]).is_err(), "no room");
    }

    #[test]
    fn hostile_files_are_errors() {
        let good = thin(&[&build_version(10)], 8);
        for cut in 0..good.len() - 8 {
            assert!(commands(&good[..cut]).is_err(), "cut at {cut}");
        }
        let mut wild = good.clone();
        set_u32(&mut wild, HEADER + 4, u32::MAX).expect("size");
        assert!(commands(&wild).is_err());
        let mut fat = universal(&[("arm64", good.clone()), ("x86_64", good)]).expect("universal");
        assert_eq!(slices(&fat).expect("slices").len(), 2);
        fat[8 + 8] = 0xff;
        assert!(slices(&fat).is_err());
    }
}
