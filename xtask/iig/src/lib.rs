//! DriverKit interface definitions on Linux: `.iig` files become headers and dispatch code, in the shape that Apple's
//! `iig` gives them, and the sources of a driver extension become a shared object for the Linux runtime.
//!
//! The text of a definition is copied; only classes that descend from `OSObject` are understood and replaced. What a
//! driver extension may declare is: overrides, dispatched and LOCALONLY methods of its own, `TYPE(Class::Method)` callbacks,
//! and ordinary C++ members. Anything else is an error with its place.
#![forbid(unsafe_code)]

mod build;
mod cond;
mod diag;
mod emit;
mod lex;
mod member;
mod model;
mod parse;
mod resolve;
mod tree;

pub use build::{BuildError, Dext, Sanitizer, build_dext, find_clang, write_framework};
pub use diag::{Diagnostic, Diagnostics};

use cond::Macros;
use parse::Table;
use std::path::{Path, PathBuf};

/// Which declarations are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Our own definitions in host/include: they may introduce dispatched methods.
    Framework,
    /// A driver extension.
    User,
}

/// The two generated files of one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// `X.h`
    pub header: String,
    /// `X.iig.cpp`
    pub source: String,
    /// Definitions that were read on the way, this one included, for rebuild rules.
    pub dependencies: Vec<PathBuf>,
}

/// Generates from one definition at a time.
#[derive(Debug, Clone)]
pub struct Generator {
    include_dirs: Vec<PathBuf>,
    macros: Macros,
}

impl Generator {
    /// `include_dirs` are searched for `<X.iig>` in their order.
    pub fn new<P: Into<PathBuf>>(include_dirs: impl IntoIterator<Item = P>) -> Self {
        Self { include_dirs: include_dirs.into_iter().map(Into::into).collect(), macros: Macros::predefined() }
    }

    /// As `-DNAME=value` of a compiler, for `#if` in definitions.
    #[must_use]
    pub fn define(mut self, name: &str, value: &str) -> Self {
        self.macros.define(name, Some(value));
        self
    }

    /// Generates one of our own definitions.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn framework(&self, path: impl AsRef<Path>) -> Result<Output, Diagnostics> {
        self.generate(path.as_ref(), Mode::Framework)
    }

    /// Generates a definition of a driver extension.
    ///
    /// # Errors
    /// Everything that is wrong with the file, or is not supported.
    pub fn user(&self, path: impl AsRef<Path>) -> Result<Output, Diagnostics> {
        self.generate(path.as_ref(), Mode::User)
    }

    /// As [`Generator::user`], for a definition that lies in an include directory: its source includes the header by its
    /// bare name, because all headers of a driver land in one directory.
    fn user_in(&self, path: &Path) -> Result<Output, Diagnostics> {
        let mut output = self.user(path)?;
        let bare = format!("\"{}\"", path.with_extension("h").file_name().unwrap_or_default().to_string_lossy());
        output.source =
            output.source.replace(&format!("#include {}\n", self.include_name(path)), &format!("#include {bare}\n"));
        Ok(output)
    }

    fn generate(&self, path: &Path, mode: Mode) -> Result<Output, Diagnostics> {
        let mut table = Table::new(&self.include_dirs, self.macros.clone());
        let file = table.load(path)?;
        let mut errors = std::mem::take(&mut table.errors);
        if table.incomplete {
            return Err(Diagnostics(errors));
        }
        let mut classes = Vec::new();
        for class in file.classes.iter().filter(|class| class.base.is_some()) {
            if class.extends {
                errors.push(class.source.error(class.span.0, "EXTENDS", "private class parts are not supported", ""));
                continue;
            }
            classes.push(table.resolve(class, mode, &mut errors));
        }
        if !errors.is_empty() {
            errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
            return Err(Diagnostics(errors));
        }
        Ok(Output {
            header: emit::header::header(&file, &classes, mode),
            source: emit::source::source(&file, &classes, &table, &self.include_name(path)),
            dependencies: table.dependencies(),
        })
    }

    /// How the generated source includes the generated header.
    fn include_name(&self, path: &Path) -> String {
        let relative = self.include_dirs.iter().find_map(|dir| path.strip_prefix(dir).ok());
        match relative {
            Some(relative) => format!("<{}>", relative.with_extension("h").display()),
            None => format!("\"{}\"", path.with_extension("h").file_name().unwrap_or_default().to_string_lossy()),
        }
    }
}
