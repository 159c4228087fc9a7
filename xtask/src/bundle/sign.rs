//! Ad-hoc code signatures, so that a check build carries entitlements where a signed one does. Format: xnu
//! osfmk/kern/cs_blobs.h; blobs are big-endian. A bundle that is to run is signed by `codesign` on a Mac.

use anyhow::{Context, Result, bail};
use object::macho;
use plist::{Dictionary, Value};
use sha2::{Digest, Sha256};

use super::macho::{add_command, commands, remove_command, set_u64, u32_at, u64_at};
use super::template::xml;

const EMBEDDED_SIGNATURE: u32 = 0xfade_0cc0;
const CODE_DIRECTORY: u32 = 0xfade_0c02;
const REQUIREMENTS: u32 = 0xfade_0c01;
const ENTITLEMENTS: u32 = 0xfade_7171;
const DER_ENTITLEMENTS: u32 = 0xfade_7172;
const BLOB_WRAPPER: u32 = 0xfade_0b01;

const SLOT_CODE_DIRECTORY: u32 = 0;
const SLOT_REQUIREMENTS: u32 = 2;
const SLOT_RESOURCES: u32 = 3;
const SLOT_ENTITLEMENTS: u32 = 5;
const SLOT_DER: u32 = 7;
const SLOT_CMS: u32 = 0x10000;

const SPECIAL_INFO: u32 = 1;
/// CS_ADHOC
const FLAG_ADHOC: u32 = 2;
const PAGE: usize = 4096;
/// CS_HASHTYPE_SHA256
const SHA256: u8 = 2;
/// A directory with execSeg fields.
const VERSION: u32 = 0x2_0400;
const DIRECTORY_HEADER: usize = 88;

/// What a signature says.
#[derive(Clone, Debug)]
pub struct Signature {
    /// Usually the bundle id.
    pub identifier: String,
    /// Signed by nobody.
    pub adhoc: bool,
    /// Empty for an ad-hoc signature.
    pub team: String,
    /// From the XML blob.
    pub entitlements: Option<Dictionary>,
    /// The DER blob that newer systems read is there.
    pub has_der: bool,
    /// Why the signature does not fit the file.
    pub broken: Option<String>,
    /// Hash of the Info.plist, if it is bound.
    pub info_hash: Option<[u8; 32]>,
    /// Hash of the seal of the bundle's other files, if it is bound.
    pub seal_hash: Option<[u8; 32]>,
}

/// What a signature binds beside the code.
pub struct Bound<'a> {
    /// Usually the bundle id.
    pub identifier: &'a str,
    /// What the code may do.
    pub entitlements: &'a Dictionary,
    /// Contents of Info.plist.
    pub info_plist: &'a [u8],
    /// Contents of CodeResources; see `seal.rs`.
    pub seal: &'a [u8],
}

fn blob(magic: u32, contents: &[u8]) -> Vec<u8> {
    let mut out = magic.to_be_bytes().to_vec();
    out.extend((contents.len() as u32 + 8).to_be_bytes());
    out.extend(contents);
    out
}

/// The hash that everything is bound by.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Signs a thin executable ad hoc.
///
/// # Errors
/// Not an executable with a `__LINKEDIT` segment at its end and room for one more load command.
pub fn sign(file: &mut Vec<u8>, bound: &Bound) -> Result<()> {
    let (identifier, entitlements) = (bound.identifier, bound.entitlements);
    if let Some(old) = commands(file)?.iter().find(|command| command.cmd == macho::LC_CODE_SIGNATURE.0) {
        file.truncate(u32_at(file, old.at + 8)? as usize);
        remove_command(file, macho::LC_CODE_SIGNATURE.0)?;
    }
    file.resize(file.len().next_multiple_of(16), 0);
    let limit = file.len();
    let pages = limit.div_ceil(PAGE);
    let requirements = blob(REQUIREMENTS, &0_u32.to_be_bytes());
    let xml_blob = blob(ENTITLEMENTS, &xml(entitlements)?);
    let der_blob = blob(DER_ENTITLEMENTS, &der(entitlements)?);
    let cms = blob(BLOB_WRAPPER, &[]);
    let special = [
        (SPECIAL_INFO, bound.info_plist.to_vec()),
        (SLOT_REQUIREMENTS, requirements.clone()),
        (SLOT_RESOURCES, bound.seal.to_vec()),
        (SLOT_ENTITLEMENTS, xml_blob.clone()),
        (SLOT_DER, der_blob.clone()),
    ];
    let hash_offset = DIRECTORY_HEADER + identifier.len() + 1 + SLOT_DER as usize * 32;
    let directory_size = hash_offset + pages * 32;
    let blobs = [
        (SLOT_CODE_DIRECTORY, directory_size),
        (SLOT_REQUIREMENTS, requirements.len()),
        (SLOT_ENTITLEMENTS, xml_blob.len()),
        (SLOT_DER, der_blob.len()),
        (SLOT_CMS, cms.len()),
    ];
    let total = 12 + blobs.len() * 8 + blobs.iter().map(|(_, size)| size).sum::<usize>();

    let mut command = macho::LC_CODE_SIGNATURE.0.to_le_bytes().to_vec();
    for field in [16, limit as u32, total as u32] {
        command.extend(field.to_le_bytes());
    }
    add_command(file, &command)?;
    let (text_size, linkedit) = segments(file)?;
    let from = u64_at(file, linkedit + 40)?;
    let size = (limit + total) as u64 - from;
    set_u64(file, linkedit + 48, size)?;
    set_u64(file, linkedit + 32, size.next_multiple_of(0x4000))?;

    let mut directory = Vec::with_capacity(directory_size);
    for field in [
        CODE_DIRECTORY,
        directory_size as u32,
        VERSION,
        FLAG_ADHOC,
        hash_offset as u32,
        DIRECTORY_HEADER as u32,
        SLOT_DER,
        pages as u32,
        limit as u32,
    ] {
        directory.extend(field.to_be_bytes());
    }
    directory.extend([32, SHA256, 0, PAGE.trailing_zeros() as u8]);
    for field in [0_u32, 0, 0, 0] {
        directory.extend(field.to_be_bytes()); // spare2, scatterOffset, teamOffset, spare3
    }
    // codeLimit64, execSegBase, execSegLimit, execSegFlags (CS_EXECSEG_MAIN_BINARY)
    for field in [0_u64, 0, text_size, 1] {
        directory.extend(field.to_be_bytes());
    }
    directory.extend(identifier.as_bytes());
    directory.push(0);
    for slot in (1..=SLOT_DER).rev() {
        let hash = special.iter().find(|(at, _)| *at == slot).map_or([0; 32], |(_, bytes)| sha256(bytes));
        directory.extend(hash);
    }
    for page in file.chunks(PAGE) {
        directory.extend(sha256(page));
    }

    file.extend(EMBEDDED_SIGNATURE.to_be_bytes());
    file.extend((total as u32).to_be_bytes());
    file.extend((blobs.len() as u32).to_be_bytes());
    let mut at = 12 + blobs.len() * 8;
    for (slot, size) in blobs {
        file.extend(slot.to_be_bytes());
        file.extend((at as u32).to_be_bytes());
        at += size;
    }
    for part in [directory, requirements, xml_blob, der_blob, cms] {
        file.extend(part);
    }
    Ok(())
}

/// File size of `__TEXT` and place of the command of `__LINKEDIT`, which must reach to the end of the file.
fn segments(file: &[u8]) -> Result<(u64, usize)> {
    let (mut text, mut linkedit) = (0, None);
    for command in commands(file)?.iter().filter(|command| command.cmd == macho::LC_SEGMENT_64.0) {
        let name = file.get(command.at + 8..command.at + 24).unwrap_or_default();
        if name.starts_with(b"__TEXT\0") {
            text = u64_at(file, command.at + 48)?;
        } else if name.starts_with(b"__LINKEDIT\0") {
            linkedit = Some(command.at);
        }
    }
    Ok((text, linkedit.context("no __LINKEDIT segment")?))
}

/// The signature of a thin executable; `None` if it has none.
///
/// # Errors
/// A signature that cannot be read at all.
pub fn read(file: &[u8]) -> Result<Option<Signature>> {
    let Some(command) = commands(file)?.into_iter().find(|command| command.cmd == macho::LC_CODE_SIGNATURE.0) else {
        return Ok(None);
    };
    let (offset, size) = (u32_at(file, command.at + 8)? as usize, u32_at(file, command.at + 12)? as usize);
    let Some(bytes) = offset.checked_add(size).and_then(|end| file.get(offset..end)) else {
        bail!("LC_CODE_SIGNATURE points outside the file");
    };
    let big = |at: usize| -> Result<u32> {
        Ok(u32::from_be_bytes(bytes.get(at..at + 4).context("the signature ends early")?.try_into()?))
    };
    if big(0)? != EMBEDDED_SIGNATURE {
        bail!("LC_CODE_SIGNATURE points at something else");
    }
    let mut directory: &[u8] = &[];
    let mut parts: Vec<(u32, &[u8])> = Vec::new();
    for index in 0..big(8)? as usize {
        let (slot, at) = (big(12 + index * 8)?, big(16 + index * 8)? as usize);
        let length = big(at + 4)? as usize;
        let part = bytes.get(at..at.saturating_add(length)).context("a blob leaves the signature")?;
        match slot {
            SLOT_CODE_DIRECTORY => directory = part,
            _ => parts.push((slot, part)),
        }
    }
    let mut signature = read_directory(file, offset, directory, &parts)?;
    for (slot, part) in &parts {
        match *slot {
            SLOT_ENTITLEMENTS => {
                let value = Value::from_reader_xml(std::io::Cursor::new(part.get(8..).unwrap_or_default()));
                signature.entitlements = value.ok().and_then(Value::into_dictionary);
            }
            SLOT_DER => signature.has_der = true,
            _ => {}
        }
    }
    Ok(Some(signature))
}

fn read_directory(file: &[u8], offset: usize, directory: &[u8], parts: &[(u32, &[u8])]) -> Result<Signature> {
    let big = |at: usize| -> Result<u32> {
        Ok(u32::from_be_bytes(directory.get(at..at + 4).context("the code directory ends early")?.try_into()?))
    };
    if big(0)? != CODE_DIRECTORY {
        bail!("no code directory");
    }
    let text = |at: usize| {
        let bytes = directory.get(at..).unwrap_or_default();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
        String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
    };
    let (version, flags, hashes, ident) = (big(8)?, big(12)?, big(16)? as usize, big(20)? as usize);
    let (specials, pages, limit) = (big(24)?, big(28)? as usize, big(32)? as usize);
    let page = 1_usize << directory.get(39).copied().unwrap_or(0).min(20);
    let team = if version >= 0x2_0200 { big(48)? as usize } else { 0 };
    let hash = |slot: i64| -> Option<[u8; 32]> {
        let at = usize::try_from(hashes as i64 + slot * 32).ok()?;
        directory.get(at..at + 32)?.try_into().ok()
    };
    let mut broken = None;
    if directory.get(36..38) != Some(&[32, SHA256]) {
        broken = Some("hashes are not SHA-256".to_owned());
    } else if limit > offset || pages != limit.div_ceil(page) {
        broken = Some("the code directory covers another length".to_owned());
    } else {
        for (index, bytes) in file.get(..limit).unwrap_or_default().chunks(page).enumerate() {
            if hash(index as i64) != Some(sha256(bytes)) {
                broken = Some(format!("page {index} has been changed after signing"));
                break;
            }
        }
        for (slot, part) in parts.iter().filter(|(slot, _)| *slot <= specials) {
            if hash(-i64::from(*slot)) != Some(sha256(part)) {
                broken = Some(format!("the blob in slot {slot} has been changed after signing"));
            }
        }
    }
    Ok(Signature {
        identifier: text(ident),
        adhoc: flags & FLAG_ADHOC != 0,
        team: if team == 0 { String::new() } else { text(team) },
        entitlements: None,
        has_der: false,
        broken,
        info_hash: hash(-i64::from(SPECIAL_INFO)).filter(|hash| *hash != [0; 32]),
        seal_hash: hash(-i64::from(SLOT_RESOURCES)).filter(|hash| *hash != [0; 32] && specials >= SLOT_RESOURCES),
    })
}

/// Is this the Info.plist that the signature binds?
pub fn binds(signature: &Signature, info_plist: &[u8]) -> bool {
    signature.info_hash == Some(sha256(info_plist))
}

/// Is this the seal that the signature binds?
pub fn binds_seal(signature: &Signature, seal: &[u8]) -> bool {
    signature.seal_hash == Some(sha256(seal))
}

/// Entitlements in DER, as macOS 12 and later read them: an application-16 element with version 1 and one sequence of
/// key and value per entry, keys sorted.
fn der(entitlements: &Dictionary) -> Result<Vec<u8>> {
    let mut contents = element(0x02, &[1]);
    contents.extend(der_dictionary(entitlements)?);
    Ok(element(0x70, &contents))
}

fn der_dictionary(dictionary: &Dictionary) -> Result<Vec<u8>> {
    let mut keys: Vec<&String> = dictionary.keys().collect();
    keys.sort();
    let mut out = Vec::new();
    for key in keys {
        let value = dictionary.get(key).context("a key without value")?;
        let entry = [element(0x0c, key.as_bytes()), der_value(value)?].concat();
        out.extend(element(0x30, &entry));
    }
    Ok(element(0xb0, &out))
}

fn der_value(value: &Value) -> Result<Vec<u8>> {
    Ok(match value {
        Value::Boolean(value) => element(0x01, &[if *value { 0xff } else { 0 }]),
        Value::String(text) => element(0x0c, text.as_bytes()),
        Value::Integer(number) => {
            let number = number.as_signed().context("an entitlement's number is too large")?;
            let bytes = number.to_be_bytes();
            // DER wants the fewest bytes that keep the sign.
            let spare = bytes
                .windows(2)
                .take_while(|pair| matches!(pair, [0, b] if *b < 0x80) || matches!(pair, [0xff, b] if *b >= 0x80))
                .count();
            element(0x02, bytes.get(spare..).unwrap_or_default())
        }
        Value::Array(items) => element(0x30, &items.iter().map(der_value).collect::<Result<Vec<_>>>()?.concat()),
        Value::Dictionary(items) => der_dictionary(items)?,
        _ => bail!("entitlements hold booleans, numbers, strings, lists and dictionaries"),
    })
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match contents.len() {
        length @ 0..=0x7f => out.push(length as u8),
        length @ 0x80..=0xff => out.extend([0x81, length as u8]),
        length => {
            out.push(0x82);
            out.extend((length as u16).to_be_bytes());
        }
    }
    out.extend(contents);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_lengths_and_numbers() {
        assert_eq!(element(0x0c, &[0; 0x90]).get(..3), Some(&[0x0c, 0x81, 0x90][..]));
        assert_eq!(element(0x0c, &[0; 0x123]).get(..4), Some(&[0x0c, 0x82, 0x01, 0x23][..]));
        for (number, wanted) in
            [(0_i64, &[0x02, 1, 0][..]), (127, &[2, 1, 0x7f]), (128, &[2, 2, 0, 0x80]), (-1, &[2, 1, 0xff])]
        {
            assert_eq!(der_value(&Value::from(number)).expect("number"), wanted, "{number}");
        }
        let mut one = Dictionary::new();
        one.insert("a".into(), Value::Boolean(true));
        let wanted = [0x70, 13, 0x02, 1, 1, 0xb0, 8, 0x30, 6, 0x0c, 1, b'a', 0x01, 1, 0xff];
        assert_eq!(der(&one).expect("der"), wanted);
    }
}
