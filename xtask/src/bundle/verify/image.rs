//! One slice of an executable, as far as the checks look.

use anyhow::{Context, Result};
use object::macho as defs;
use object::read::macho::{LoadCommandVariant, MachHeader, MachOFile64, Nlist, Section, Segment};
use object::{Endianness, Object as _, ObjectSymbol as _};

/// An imported symbol.
#[derive(Debug)]
pub struct Import {
    /// As in the symbol table.
    pub name: String,
    /// dyld lets it be absent.
    pub weak: bool,
}

/// A section with its name, size and type.
#[derive(Debug)]
pub struct SectionInfo {
    pub name: String,
    pub size: u64,
    /// `S_*`.
    pub kind: u32,
}

/// What load commands, sections and symbols say.
#[derive(Debug, Default)]
pub struct Image {
    pub filetype: u32,
    pub flags: u32,
    pub platform: Option<u32>,
    pub minimum: u32,
    pub commands: Vec<u32>,
    pub dylibs: Vec<String>,
    pub rpaths: Vec<String>,
    pub sections: Vec<SectionInfo>,
    /// Name and initial protection.
    pub segments: Vec<(String, u32)>,
    pub imports: Vec<Import>,
    pub defined: Vec<String>,
    pub size: u64,
}

impl Image {
    /// Reads a thin file.
    ///
    /// # Errors
    /// It is not a 64-bit Mach-O, or its tables leave the file.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let header = defs::MachHeader64::<Endianness>::parse(bytes, 0).context("no Mach-O header")?;
        let endian = header.endian()?;
        let mut image = Self {
            filetype: header.filetype(endian).0,
            flags: header.flags(endian).0,
            size: bytes.len() as u64,
            ..Self::default()
        };
        let mut commands = header.load_commands(endian, bytes, 0)?;
        while let Some(command) = commands.next()? {
            image.commands.push(command.cmd().0);
            match command.variant()? {
                LoadCommandVariant::Segment64(segment, data) => {
                    let name = String::from_utf8_lossy(segment.name()).into_owned();
                    for section in segment.sections(endian, data)? {
                        image.sections.push(SectionInfo {
                            name: String::from_utf8_lossy(section.name()).into_owned(),
                            size: section.size.get(endian),
                            kind: section.flags.get(endian).0 & 0xff,
                        });
                    }
                    image.segments.push((name, segment.initprot.get(endian).0));
                }
                LoadCommandVariant::BuildVersion(version, _) => {
                    image.platform = Some(version.platform.get(endian).0);
                    image.minimum = version.minos.get(endian).0;
                }
                LoadCommandVariant::Dylib(dylib) => {
                    let name = command.string(endian, dylib.dylib.name)?;
                    image.dylibs.push(String::from_utf8_lossy(name).into_owned());
                }
                LoadCommandVariant::Rpath(rpath) => {
                    let path = command.string(endian, rpath.path)?;
                    image.rpaths.push(String::from_utf8_lossy(path).into_owned());
                }
                _ => {}
            }
        }
        let file = MachOFile64::<Endianness>::parse(bytes)?;
        for symbol in file.symbols() {
            let Ok(name) = symbol.name() else { continue };
            if symbol.is_undefined() {
                let weak = symbol.macho_symbol().n_desc(endian).0 & 0x40 != 0; // N_WEAK_REF
                image.imports.push(Import { name: name.to_owned(), weak });
            } else {
                image.defined.push(name.to_owned());
            }
        }
        Ok(image)
    }

    /// The minimum version as people write it.
    pub fn minimum_text(&self) -> String {
        format!("{}.{}", self.minimum >> 16, self.minimum >> 8 & 0xff)
    }

    /// Sizes of the sections that are not empty.
    pub fn sizes(&self) -> String {
        let sizes: Vec<String> = self
            .sections
            .iter()
            .filter(|section| section.size > 0)
            .map(|section| format!("{} {}", section.name.trim_start_matches('_'), section.size))
            .collect();
        sizes.join(", ")
    }

    /// Is there a text constant `word` in the file? Class names are in the descriptions that the loader reads.
    pub fn mentions(&self, bytes: &[u8], word: &str) -> bool {
        let mut needle = vec![0];
        needle.extend(word.as_bytes());
        needle.push(0);
        bytes.windows(needle.len()).any(|window| window == needle)
    }
}
