//! `weir.toml`: everything about a bundle that is its maker's.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Development builds run on the maker's own Macs; release builds go to users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Variant {
    /// Debuggable; any program may read from the driver.
    #[default]
    Development,
    /// Notarised and distributed.
    Release,
}

impl Variant {
    /// As file names have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Release => "release",
        }
    }
}

/// The file, checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Ten characters.
    pub team: String,
    /// Reverse DNS.
    pub bundle_prefix: String,
    /// Three numbers.
    pub version: String,
    /// Grows with every build that users install.
    pub build: u32,
    /// A certificate's name, or `-`.
    pub signing_identity: String,
    /// Path of a provisioning profile, or empty.
    #[serde(default)]
    pub app_profile: String,
    /// Likewise, for the driver extension.
    #[serde(default)]
    pub dext_profile: String,
    /// Oldest DriverKit.
    pub minimum_driverkit: String,
    /// Oldest macOS.
    pub minimum_macos: String,
}

impl Config {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// The file is missing, is not TOML, or a value cannot be what it is for.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Checks the text of a file.
    ///
    /// # Errors
    /// See [`Config::read`].
    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)?;
        let team = config.team.len() == 10 && config.team.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !team {
            bail!("team: ten upper-case letters and digits, as developer.apple.com shows them");
        }
        let prefix = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !part.starts_with('-')
        };
        if config.bundle_prefix.split('.').count() < 2 || !config.bundle_prefix.split('.').all(prefix) {
            bail!("bundle-prefix: a reversed domain name such as com.example");
        }
        if config.version.split('.').count() != 3 || version(&config.version).is_none() {
            bail!("version: three numbers with dots between them");
        }
        if config.build == 0 {
            bail!("build: 1 or more");
        }
        for (key, value) in [("minimum-driverkit", &config.minimum_driverkit), ("minimum-macos", &config.minimum_macos)]
        {
            if version(value).is_none() {
                bail!("{key}: numbers with dots between them");
            }
        }
        // macOS 11 came with DriverKit 20; macOS 26 follows 15.
        let driverkit = version(&config.minimum_driverkit).map_or(0, |v| v.0);
        let macos = version(&config.minimum_macos).map_or(0, |v| v.0);
        if driverkit_of_macos(macos) < driverkit {
            bail!("minimum-macos {macos} has DriverKit {}, less than minimum-driverkit", driverkit_of_macos(macos));
        }
        if driverkit < 21 {
            bail!("minimum-driverkit: 21 or more; the lower-case callbacks of the NIC came with it");
        }
        Ok(config)
    }

    /// The app's bundle id. The extension's begins with it, which Apple requires of what an app brings along.
    pub fn app_id(&self) -> String {
        self.bundle_prefix.clone()
    }

    /// The extension's bundle id, which is also the name of its bundle and of its executable.
    pub fn dext_id(&self) -> String {
        format!("{}.driver", self.bundle_prefix)
    }

    /// What `$(NAME)` stands for in a template.
    pub fn variable(&self, name: &str) -> Option<String> {
        Some(match name {
            "APP_ID" => self.app_id(),
            "DEXT_ID" => self.dext_id(),
            "TEAM" => self.team.clone(),
            "VERSION" => self.version.clone(),
            "BUILD" => self.build.to_string(),
            "MINIMUM_MACOS" => self.minimum_macos.clone(),
            "MINIMUM_DRIVERKIT" => self.minimum_driverkit.clone(),
            _ => return None,
        })
    }
}

/// The DriverKit that came with a macOS.
pub fn driverkit_of_macos(macos: u32) -> u32 {
    match macos {
        0..=10 => 19,
        11..=15 => macos + 9,
        // From 26 on, macOS has the year's number and DriverKit counts on.
        _ => macos - 1,
    }
}

/// Up to three numbers with dots between them.
pub fn version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = [0; 3];
    for (index, part) in text.split('.').enumerate() {
        *numbers.get_mut(index)? = part.parse().ok()?;
    }
    let [major, minor, patch] = numbers;
    Some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::{Config, driverkit_of_macos, version};

    fn text(key: &str, value: &str) -> String {
        let shipped = include_str!("../../../weir.toml");
        shipped
            .lines()
            .map(|line| if line.starts_with(key) { format!("{key} = {value}\n") } else { format!("{line}\n") })
            .collect()
    }

    #[test]
    fn the_shipped_file_is_right() {
        let config = Config::parse(include_str!("../../../weir.toml")).expect("weir.toml");
        assert_eq!(config.version, env!("CARGO_PKG_VERSION"), "weir.toml and Cargo.toml name one version");
        assert_eq!(config.dext_id(), "dev.weir.driver");
    }

    #[test]
    fn wrong_values_are_named() {
        for (key, value) in [
            ("team", "\"abc\""),
            ("bundle-prefix", "\"weir\""),
            ("bundle-prefix", "\"dev.we ir\""),
            ("version", "\"1.0\""),
            ("build", "0"),
            ("minimum-driverkit", "\"20.0\""),
            ("minimum-macos", "\"11.0\""),
        ] {
            let error = Config::parse(&text(key, value)).expect_err(key).to_string();
            assert!(error.contains(key), "{key} = {value}: {error}");
        }
        assert!(Config::parse(&format!("{}\nextra = 1\n", text("team", "\"AAAAAAAAAA\""))).is_err());
    }

    #[test]
    fn versions() {
        assert_eq!(version("21.0"), Some((21, 0, 0)));
        assert_eq!(version("1.2.3.4"), None);
        assert_eq!(version("x"), None);
        let pairs = [(10, 19), (11, 20), (12, 21), (13, 22), (14, 23), (15, 24), (26, 25)];
        assert!(pairs.iter().all(|(macos, driverkit)| driverkit_of_macos(*macos) == *driverkit));
    }
}
