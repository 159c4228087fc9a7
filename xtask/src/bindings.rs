//! `src/abi/sys.rs`: the Rust half of `dext/weir_core.h`, generated here and committed, so that building the core
//! needs neither bindgen nor libclang.

use anyhow::{Context, Result, bail};

use crate::sh;

const HEADER: &str = "dext/weir_core.h";
const OUTPUT: &str = "src/abi/sys.rs";

/// The file's text as the header of this moment gives it.
fn generate() -> Result<String> {
    let header = sh::root().join(HEADER);
    let bindings = bindgen::builder()
        .header(header.to_str().context("the workspace's path is not UTF-8")?)
        // The header's comments are ordinary ones; they are the documentation of the Rust side too.
        .clang_args(["-std=c11", "-fparse-all-comments"])
        .allowlist_item("(weir|WEIR)_.*")
        // Fixed, so that the text depends neither on the toolchain nor on an installed rustfmt.
        .rust_target(bindgen::RustTarget::stable(85, 0).map_err(|error| anyhow::anyhow!("{error}"))?)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .formatter(bindgen::Formatter::Prettyplease)
        .use_core()
        .prepend_enum_name(false)
        .merge_extern_blocks(true)
        .disable_header_comment()
        .generate()
        .with_context(|| format!("bindgen cannot read {HEADER}"))?;
    Ok(format!("// Generated from {HEADER} by `cargo xtask bindings`. Do not edit.\n\n{bindings}"))
}

/// Writes `src/abi/sys.rs` anew.
///
/// # Errors
/// The header does not parse, libclang is missing, or the file cannot be written.
pub fn write() -> Result<()> {
    std::fs::write(sh::root().join(OUTPUT), generate()?).with_context(|| format!("cannot write {OUTPUT}"))
}

/// Compares the committed file with what the header says now.
///
/// # Errors
/// They differ, or the header does not parse.
pub fn check() -> Result<()> {
    let committed =
        std::fs::read_to_string(sh::root().join(OUTPUT)).with_context(|| format!("cannot read {OUTPUT}"))?;
    let generated = generate()?;
    let differs = committed.lines().zip(generated.lines()).position(|(old, new)| old != new);
    match differs {
        Some(line) => bail!("{OUTPUT}:{}: differs from {HEADER}; run `cargo xtask bindings` and commit it", line + 1),
        None if committed.len() != generated.len() => {
            bail!("{OUTPUT}: its length differs from what {HEADER} gives; run `cargo xtask bindings` and commit it")
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn committed_bindings_are_what_the_header_says() {
        if let Err(error) = super::check() {
            panic!("{error:#}");
        }
    }
}
