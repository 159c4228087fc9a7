//! `cargo xtask iig` and `cargo xtask dext`: front ends of `weir-iig`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::sh;

fn include_dirs() -> Vec<PathBuf> {
    vec![sh::root().join("host/include")]
}

/// Writes NAME.h and NAME.iig.cpp for each file into `out`.
///
/// # Errors
/// A file that cannot be read or written, or .iig text outside the supported subset (with line and column).
pub fn iig(files: &[PathBuf], out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for file in files {
        let dir = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let mut dirs = include_dirs();
        dirs.push(dir);
        let output = weir_iig::Generator::new(&dirs).user(file)?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        for (name, text) in [(format!("{stem}.h"), &output.header), (format!("{stem}.iig.cpp"), &output.source)] {
            let path = out.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// Builds the driver in `src` into the shared object `out`.
///
/// # Errors
/// What the generator, the compiler or the linker said.
pub fn build(
    src: &[PathBuf],
    out: &Path,
    sanitize: Option<&str>,
    define: &[String],
    include: &[PathBuf],
    link: &[String],
) -> Result<()> {
    let macros = define.iter().map(|define| format!("-D{define}"));
    let folders = include.iter().map(|dir| format!("-I{}", dir.display()));
    weir_iig::build_dext(&weir_iig::Dext {
        src_dirs: src.to_vec(),
        include_dirs: include_dirs(),
        out: out.to_path_buf(),
        compile_args: macros.chain(folders).collect(),
        link_args: link.to_vec(),
        sanitizer: match sanitize {
            Some("address") => weir_iig::Sanitizer::Address,
            Some("thread") => weir_iig::Sanitizer::Thread,
            Some("undefined") => weir_iig::Sanitizer::Undefined,
            _ => weir_iig::Sanitizer::None,
        },
        work_dir: None,
    })?;
    println!("{}", out.display());
    Ok(())
}
